//! expected.txt: `PROGRAM: pass`, or `fail`, `skip` or `either` with a reason after a colon.
//! `either` is for the few programs that race with the runtime.
// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[derive(Debug, PartialEq)]
pub(crate) enum Expectation {
    Pass,
    Fail(String),
    Skip(String),
    Either(String),
}

#[derive(Debug)]
pub(crate) struct Expectations(BTreeMap<String, Expectation>);

fn parse_line(line: &str) -> Option<(String, Expectation)> {
    let mut parts = line.splitn(3, ':').map(str::trim);
    let (name, word) = (parts.next()?, parts.next()?);
    let reason = parts.next().filter(|text| !text.is_empty()).map(str::to_owned);
    let expectation = match (word, reason) {
        ("pass", None) => Expectation::Pass,
        ("fail", Some(reason)) => Expectation::Fail(reason),
        ("skip", Some(reason)) => Expectation::Skip(reason),
        ("either", Some(reason)) => Expectation::Either(reason),
        _ => return None,
    };
    Some((name.to_owned(), expectation))
}

impl Expectations {
    pub(crate) fn load(file: &Path) -> Result<Expectations, String> {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn parse(text: &str) -> Result<Expectations, String> {
        let mut rows = BTreeMap::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, row) = parse_line(line).ok_or_else(|| format!("not understood: {line}"))?;
            if rows.insert(name.clone(), row).is_some() {
                return Err(format!("{name} is listed twice"));
            }
        }
        Ok(Expectations(rows))
    }

    pub(crate) fn of(&self, name: &str) -> Option<&Expectation> {
        self.0.get(name)
    }

    /// A listed program that is not there would never be missed otherwise.
    pub(crate) fn check_names<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let there: Vec<&str> = names.collect();
        match self.0.keys().find(|name| !there.contains(&name.as_str())) {
            Some(name) => Err(format!("{name} is expected, but there is no such program")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_needs_a_reason() {
        assert_eq!(parse_line("a: pass"), Some(("a".into(), Expectation::Pass)));
        assert_eq!(
            parse_line("a: fail: x: y"),
            Some(("a".into(), Expectation::Fail("x: y".into())))
        );
        assert_eq!(parse_line("a: fail"), None);
        assert_eq!(parse_line("a: pass: why"), None);
        assert_eq!(parse_line("a: maybe: x"), None);
    }

    #[test]
    fn a_program_is_listed_once() {
        assert!(Expectations::parse("a: pass\na: skip: x\n").is_err());
        assert!(Expectations::parse("# note\n\na: pass\n").is_ok());
    }
}
