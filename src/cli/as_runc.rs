// SPDX-License-Identifier: Apache-2.0
//! Called by the name `runc`, as through a link at that program's place, creel begins its errors as runc
//! does, for scripts and test suites that look for those words. What follows them is creel's own text.

use crate::error::Error;

/// The name under which errors begin so.
pub(super) const NAME: &str = "runc";

/// `error` of `command`, with what runc 1.5 says before it (run.go, create.go, exec.go; `Container.start`
/// and `initProcess.start` of its libcontainer).
pub(super) fn begin(command: &str, error: Error) -> Error {
    let failed = match command {
        "create" | "run" => format!("runc {command} failed"),
        "exec" => "exec failed".to_owned(),
        _ => return error,
    };
    if !error.is_reported() {
        return error.within(failed);
    }
    let text = error.to_string();
    let text = match text.strip_prefix("mount ") {
        Some(what) => format!("error mounting {what}"),
        None => text,
    };
    let during = if command == "exec" { "" } else { "error during container init: " };
    let text = format!("{failed}: unable to start container process: {during}{text}");
    Error::text(text).with_kind(error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn begun(command: &str, error: Error) -> String {
        begin(command, error).to_string()
    }

    #[test]
    fn what_the_clone_reported_is_a_failed_init() {
        let error = || Error::reported("mount /a at /b (bind): EPERM: operation not permitted", 1);
        let init =
            "unable to start container process: error during container init: error mounting /a at";
        assert!(begun("run", error()).starts_with(&format!("runc run failed: {init}")));
        assert!(begun("create", error()).starts_with(&format!("runc create failed: {init}")));
        let error = Error::reported("exec: \"x\": is a directory", 0);
        let text = "exec failed: unable to start container process: exec: \"x\": is a directory";
        assert_eq!(begun("exec", error), text);
    }

    #[test]
    fn what_the_parent_found_has_the_command_alone() {
        let error = Error::text("no").within("root.path".to_owned()).with_kind(Kind::Exists);
        let error = begin("run", error);
        assert_eq!(error.to_string(), "runc run failed: root.path: no");
        assert_eq!(error.kind(), Kind::Exists);
        assert_eq!(begun("kill", Error::text("no")), "no");
    }
}
