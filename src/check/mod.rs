// SPDX-License-Identifier: Apache-2.0
//! `check`: what `create` would refuse or run into, and what this host lacks, without making anything.
//! The rules are those of `create` itself: its plan is made (config.rs), and each home says what applying
//! it would meet (`foresee`). What belongs to no property is in host.rs.

mod config;
mod hints;
mod host;
mod ids;
mod names;
mod pointer;
mod reduced;

use std::path::Path;

use crate::cli::args::Globals;
use crate::json::Json;

/// How bad a finding is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// `create` or `start` would fail, or a container could never do this here.
    Error,
    /// It would succeed, and do other than what is written.
    Warning,
    /// Worth knowing.
    Note,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub level: Level,
    /// Into config.json (RFC 6901): the property at fault, or the one that asks for what the host lacks.
    pub pointer: String,
    /// In the words of `create`, where it has any.
    pub found: String,
    pub hint: String,
}

impl Finding {
    fn new(level: Level, pointer: impl Into<String>, found: impl Into<String>) -> Self {
        let (pointer, found) = (pointer.into(), found.into());
        let hint = hints::of(&pointer, &found);
        Self { level, pointer, found, hint }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// The findings, and of what.
#[derive(Debug)]
pub(crate) struct Report {
    pub bundle: Option<String>,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of a bundle on this host, which becomes the working directory; or of the host alone.
    pub(crate) fn of(bundle: Option<&Path>, globals: &Globals) -> Self {
        // Before the bundle is entered.
        let name = |dir: &Path| crate::bundle::absolute(dir).map(|dir| dir.display().to_string());
        let name = bundle.and_then(|dir| name(dir).ok());
        let mut findings = match bundle {
            Some(dir) => config::look(dir, globals),
            None => host::look(globals),
        };
        // Within a level as they were found.
        findings.sort_by_key(|finding| finding.level);
        Self { bundle: name, findings }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Finding { level, pointer, found, hint } in &self.findings {
            let place =
                if pointer.is_empty() { String::new() } else { format!("{pointer}\n         ") };
            text += &format!("{:8} {place}{found}\n", level.name());
            if !hint.is_empty() {
                text += &format!("         hint: {hint}\n");
            }
        }
        let [errors, warnings, notes] = [Level::Error, Level::Warning, Level::Note].map(|level| {
            let (count, name) = (self.count(level), level.name());
            format!("{count} {name}{}", if count == 1 { "" } else { "s" })
        });
        let what = self.bundle.as_deref().unwrap_or("this host");
        text + &format!("{what}: {errors}, {warnings}, {notes}\n")
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let findings = self.findings.iter().map(|finding| {
            Json::Object(vec![
                ("level", Json::Text(finding.level.name())),
                ("pointer", Json::Text(&finding.pointer)),
                ("found", Json::Text(&finding.found)),
                ("hint", Json::Text(&finding.hint)),
            ])
        });
        let bundle = self.bundle.as_deref().map_or(Json::Null, Json::Text);
        let document = Json::Object(vec![
            ("bundle", bundle),
            ("ok", Json::Bool(!self.has_errors())),
            ("findings", Json::List(findings.collect())),
        ]);
        document.pretty("  ") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let findings = vec![
            Finding::new(Level::Error, "/root/path", "root.path: x").with_hint("make it"),
            Finding::new(Level::Note, "", "Linux 6.1").with_hint(""),
        ];
        Report { bundle: Some("/b".to_owned()), findings }
    }

    #[test]
    fn people_and_programs_read_the_same() {
        let text = "error    /root/path\n         root.path: x\n         hint: make it\n\
            note     Linux 6.1\n/b: 1 error, 0 warnings, 1 note\n";
        assert_eq!(report().text(), text);
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["findings"][0]["pointer"], "/root/path");
        assert_eq!(json["findings"][1]["hint"], "");
    }
}
