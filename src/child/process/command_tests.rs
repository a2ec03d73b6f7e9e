// SPDX-License-Identifier: Apache-2.0
use nix::mount::{MsFlags, mount};
use nix::unistd::Uid;

use super::*;
use crate::sys::ids;
use crate::testing::inside;

fn plan(args: &[&str], env: &[&str], cwd: &str) -> Result<Command> {
    let process = oci::Process {
        args: args.iter().map(|&a| a.into()).collect(),
        env: env.iter().map(|&v| v.into()).collect(),
        cwd: cwd.into(),
        ..Default::default()
    };
    Command::plan(&process, &["LISTEN_PID=1".to_owned()])
}

fn env(command: &Command) -> Vec<&str> {
    command.env.iter().map(|v| v.to_str().unwrap()).collect()
}

#[test]
fn the_last_duplicate_wins_in_its_place() {
    let command = plan(&["x"], &["A=1", "B=2", "A=3=4", "HOME=/h", "PATH=/a:/b"], "/").unwrap();
    assert_eq!(env(&command), ["B=2", "A=3=4", "HOME=/h", "PATH=/a:/b", "LISTEN_PID=1"]);
    assert_eq!(command.path, "/a:/b");
    assert_eq!(command.needs_home_of, None);
}

#[test]
fn an_empty_home_is_none_even_if_it_comes_last() {
    let command = plan(&["x"], &["HOME=/h", "HOME=", "A="], "/").unwrap();
    assert_eq!(env(&command), ["A=", "LISTEN_PID=1"]);
    assert_eq!(command.needs_home_of, Some(0));
}

#[test]
fn refusals_name_the_property() {
    let refusal = |args, env, cwd| plan(args, env, cwd).unwrap_err().to_string();
    assert_eq!(refusal(&[], &[], "/"), "process.args: must not be empty");
    assert_eq!(refusal(&["x", "a\0b"], &[], "/"), "process.args[1]: has a NUL");
    assert_eq!(refusal(&["x"], &[], ""), "process.cwd: \"\" is not an absolute path");
    assert_eq!(refusal(&["x"], &[], "a"), "process.cwd: \"a\" is not an absolute path");
    assert_eq!(
        refusal(&["x"], &["A"], "/"),
        "process.env: invalid environment variable \"A\": missing '='"
    );
    assert_eq!(
        refusal(&["x"], &["=A"], "/"),
        "process.env: invalid environment variable: name cannot be empty"
    );
    assert_eq!(
        refusal(&["x"], &["A=b\0"], "/"),
        "process.env: invalid environment variable \"A\": contains nul byte (\\x00)"
    );
}

/// A tmpfs at /mnt with `dir/`, `plain` (0644), `tool` (0755) and `bin/tool` (0644).
fn with_files(body: impl FnOnce(&Inside) -> Result<()>) {
    use std::os::unix::fs::PermissionsExt;
    inside(|me| {
        mount(Some("t"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        std::fs::create_dir_all("/mnt/dir")?;
        std::fs::create_dir_all("/mnt/bin")?;
        for (file, mode) in [("plain", 0o644), ("tool", 0o755), ("bin/tool", 0o644)] {
            let file = format!("/mnt/{file}");
            std::fs::write(&file, "\x7fnonsense")?;
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode))?;
        }
        nix::unistd::chdir("/mnt")?;
        body(me)
    });
}

fn refusal(name: &str, path: &str, me: &Inside) -> String {
    let error = plan(&[name], &[path], "/").unwrap().find(me).unwrap_err();
    assert_eq!(error.kind(), Kind::NoExec);
    error.to_string()
}

#[test]
fn lookup_says_what_runc_says() {
    with_files(|me| {
        let not_found = "exec: \"foo\": executable file not found in $PATH";
        assert_eq!(refusal("foo", "PATH=/mnt:/nowhere", me), not_found);
        assert_eq!(refusal("foo", "X=", me), not_found);
        assert_eq!(
            refusal("plain", "PATH=/mnt", me),
            "exec: \"plain\": executable file not found in $PATH"
        );
        assert_eq!(
            refusal("..", "PATH=/mnt", me),
            "exec: \"..\": executable file not found in $PATH"
        );
        assert_eq!(
            refusal("/nope", "X=", me),
            "exec: \"/nope\": stat /nope: no such file or directory"
        );
        assert_eq!(
            refusal("/mnt/plain/x", "X=", me),
            "exec: \"/mnt/plain/x\": stat /mnt/plain/x: not a directory"
        );
        assert_eq!(refusal("./plain", "X=", me), "exec: \"./plain\": permission denied");
        assert_eq!(
            refusal("/mnt/dir", "X=", me),
            "exec: \"/mnt/dir\": is a directory: permission denied"
        );
        assert_eq!(
            refusal("tool", "PATH=:/bin", me),
            "exec: \"tool\": cannot run executable found relative to current directory"
        );
        let find = |name, path| plan(&[name], &[path], "/").unwrap().find(me);
        assert_eq!(find("tool", "PATH=/mnt/bin:/mnt/")?.as_c_str(), c"/mnt/tool");
        assert_eq!(find("./tool", "X=")?.as_c_str(), c"./tool");
        Ok(())
    });
}

#[test]
fn execve_says_what_runc_says() {
    with_files(|me| {
        let command = plan(&["/mnt/tool"], &[], "/")?;
        let error = command.execve(c"/mnt/tool", me).unwrap_err();
        assert_eq!(error.to_string(), "exec /mnt/tool: exec format error");
        assert_eq!(error.kind(), Kind::NoExec);
        Ok(())
    });
}

#[test]
fn cwd_must_exist_and_lie_in_the_root() {
    with_files(|me| {
        let error = plan(&["x"], &[], "/mnt/none")?.chdir(me).unwrap_err();
        assert_eq!(
            error.to_string(),
            "process.cwd: chdir to \"/mnt/none\": ENOENT: no such file or directory"
        );
        let host = std::fs::File::open("/")?;
        let number = crate::sys::fd::leak(host.into());
        let escape = plan(&["x"], &[], &format!("/proc/self/fd/{number}"))?;
        std::fs::create_dir("/mnt/proc")?;
        mount(Some("/proc"), "/mnt/proc", None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        nix::unistd::chroot("/mnt")?;
        let good = plan(&["x"], &[], "/dir")?;
        nix::unistd::chdir("/")?;
        good.chdir_as_user(good.chdir(me)?, me)?;
        nix::unistd::chdir("/")?;
        let text = format!("chdir to \"/proc/self/fd/{number}\": ELOOP: too many symbolic links");
        match escape.chdir(me) {
            Err(error) => {
                assert_eq!(error.to_string(), format!("process.cwd: {text} encountered"));
                nix::unistd::chdir(escape.cwd())?;
            }
            // Without openat2 (hack/enosys.sh) the link is followed, and only the look back refuses it.
            Ok(done) => assert_eq!(done, Chdir::Done),
        }
        let error = escape.chdir_as_user(Chdir::Done, me).unwrap_err();
        let text = format!("\"/proc/self/fd/{number}\" is outside of the container's root");
        assert_eq!(error.to_string(), format!("process.cwd: {text}"));
        Ok(())
    });
}

#[test]
fn cwd_of_the_users_own_is_entered_after_the_change_of_user() {
    if !Uid::effective().is_root() {
        println!("SKIP: needs root, to become another user");
        return;
    }
    with_files(|me| {
        let command = plan(&["x"], &[], "/mnt/dir")?;
        nix::unistd::chdir("/")?;
        nix::unistd::chown("/mnt/dir", Some(Uid::from_raw(1000)), None)?;
        std::fs::set_permissions("/mnt/dir", std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        ids::setresuid(7, 7, 0)?;
        let before = command.chdir(me)?;
        assert_eq!(before, Chdir::Refused);
        ids::setuid(0)?;
        ids::setuid(1000)?;
        command.chdir_as_user(before, me)
    });
}
