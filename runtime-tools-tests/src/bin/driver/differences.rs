//! differences.txt: where a runtime is known to answer otherwise than the specification.
//! A line is `RUNTIME  CASE  REASON`; the runtime is the program's name.
// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::case::Case;

#[derive(Debug)]
pub(crate) struct Differences {
    file: PathBuf,
    reasons: BTreeMap<String, String>,
}

fn parse(text: &str, runtime: &str) -> Result<BTreeMap<String, String>, String> {
    let mut reasons = BTreeMap::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts = line.split_once(char::is_whitespace).and_then(|(who, rest)| {
            let (case, reason) = rest.trim_start().split_once(char::is_whitespace)?;
            Some((who, case, reason))
        });
        let Some((who, case, reason)) = parts else {
            return Err(format!("differences: not `RUNTIME CASE REASON`: {line}"));
        };
        if who == runtime && reasons.insert(case.to_owned(), reason.trim().to_owned()).is_some() {
            return Err(format!("differences: {runtime} {case} is listed twice"));
        }
    }
    Ok(reasons)
}

impl Differences {
    /// `DIFFERENCES` names the file, `RUNTIME_NAME` the runtime if its program is called otherwise.
    pub(crate) fn load(runtime: &Path) -> Result<Differences, String> {
        let file = env::var_os("DIFFERENCES").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("differences.txt"),
            PathBuf::from,
        );
        let named = env::var("RUNTIME_NAME").ok().filter(|name| !name.is_empty());
        let name = named.unwrap_or_else(|| {
            runtime.file_name().unwrap_or_default().to_string_lossy().into_owned()
        });
        let text =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let reasons = parse(&text, &name)?;
        Ok(Differences { file, reasons })
    }

    pub(crate) fn source(&self) -> String {
        format!("{} in {}", self.reasons.len(), self.file.display())
    }

    pub(crate) fn reason(&self, case: &str) -> Option<&str> {
        self.reasons.get(case).map(String::as_str)
    }

    /// A name that no case has would never be noticed otherwise.
    pub(crate) fn check_names(&self, tables: &[&[Case]]) -> Result<(), String> {
        let known =
            |name: &str| tables.iter().any(|table| table.iter().any(|case| case.name == name));
        match self.reasons.keys().find(|name| !known(name)) {
            Some(name) => Err(format!("{}: no case is called {name}", self.file.display())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_of_one_runtime() {
        let text = "# note\na case-1 because\nb    case-1   other reason\n";
        let want = BTreeMap::from([("case-1".to_owned(), "other reason".to_owned())]);
        assert_eq!(parse(text, "b"), Ok(want));
        assert_eq!(parse(text, "c"), Ok(BTreeMap::new()));
    }

    #[test]
    fn a_reason_is_required() {
        assert!(parse("a case-1\n", "a").is_err());
        assert!(parse("a case-1 x\na case-1 y\n", "a").is_err());
    }
}
