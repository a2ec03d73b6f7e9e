// SPDX-License-Identifier: Apache-2.0
//! What `state`, `list` and `ps` print. Pure; field order, widths and omissions are runc's.

use std::collections::BTreeMap;

pub(crate) use super::details::Details;
use crate::bail;
use crate::error::Result;
use crate::json::Json;
use crate::log::go_quote;

/// A container as `state` and `list` show it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateView<'a> {
    pub oci_version: &'a str,
    pub id: &'a str,
    /// 0 if the container is stopped.
    pub pid: i32,
    pub status: &'a str,
    pub bundle: &'a str,
    /// Absolute.
    pub rootfs: &'a str,
    /// RFC 3339 with the fraction, `Time::rfc3339_nano`.
    pub created: &'a str,
    pub annotations: &'a BTreeMap<String, String>,
    /// The state directory's owner: a name or `#UID`. `state` leaves it empty.
    pub owner: &'a str,
    /// `--all-details`
    pub details: Option<&'a Details>,
}

impl<'a> StateView<'a> {
    fn json(&self) -> Json<'a> {
        let mut fields = vec![
            ("ociVersion", Json::Text(self.oci_version)),
            ("id", Json::Text(self.id)),
            ("pid", Json::Int(self.pid.into())),
            ("status", Json::Text(self.status)),
            ("bundle", Json::Text(self.bundle)),
            ("rootfs", Json::Text(self.rootfs)),
            ("created", Json::Text(self.created)),
        ];
        if !self.annotations.is_empty() {
            let pairs = self.annotations.iter();
            let pairs = pairs.map(|(name, value)| (name.as_str(), Json::Text(value)));
            fields.push(("annotations", Json::Object(pairs.collect())));
        }
        fields.push(("owner", Json::Text(self.owner)));
        fields.extend(self.details.map(|details| ("details", details.json())));
        Json::Object(fields)
    }
}

/// `state`. No newline at the end: that is how runc writes it.
pub(crate) fn state(view: &StateView<'_>) -> String {
    view.json().pretty("  ")
}

/// `list --format json`: one line; `null` without containers.
pub(crate) fn list_json(views: &[StateView<'_>]) -> String {
    let list = match views {
        [] => Json::Null,
        views => Json::List(views.iter().map(StateView::json).collect()),
    };
    list.compact() + "\n"
}

/// `list --quiet`.
pub(crate) fn list_quiet(views: &[StateView<'_>]) -> String {
    views.iter().map(|view| format!("{}\n", view.id)).collect()
}

/// `list`.
pub(crate) fn list_table(views: &[StateView<'_>]) -> String {
    let pids: Vec<String> = views.iter().map(|view| view.pid.to_string()).collect();
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]];
    rows.extend(
        views.iter().zip(&pids).map(|(v, pid)| [v.id, pid, v.status, v.bundle, v.created, v.owner]),
    );
    table(&rows)
}

/// Columns as wide as their widest cell and three spaces, twelve at least; the last one is ragged.
pub(super) fn table<const N: usize>(rows: &[[impl AsRef<str>; N]]) -> String {
    let width = |text: &str| if text.is_ascii() { text.len() } else { text.chars().count() };
    let mut widths = [12; N];
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell.as_ref()) + 3);
        }
    }
    let mut out = String::with_capacity(rows.len() * (widths.iter().sum::<usize>() + 1));
    for row in rows {
        for (n, cell) in row.iter().enumerate() {
            let cell = cell.as_ref();
            out.push_str(cell);
            if n + 1 < N {
                pad(&mut out, widths[n] - width(cell));
            }
        }
        out.push('\n');
    }
    out
}

fn pad(out: &mut String, mut count: usize) {
    const BLANK: &str = "                                ";
    while count > 0 {
        let some = count.min(BLANK.len());
        out.push_str(&BLANK[..some]);
        count -= some;
    }
}

/// What `gc` shows of a dead container.
#[derive(Debug)]
pub(crate) struct GcView {
    pub id: String,
    pub why: &'static str,
    pub holds: Vec<String>,
    /// `found`, `cleared`, `failed`.
    pub outcome: &'static str,
}

/// `gc --format json`: one line, a list.
pub(crate) fn gc_json(views: &[GcView]) -> String {
    let one = |view: &GcView| -> String {
        let holds: Vec<&String> = view.holds.iter().collect();
        Json::Object(vec![
            ("id", Json::Text(&view.id)),
            ("why", Json::Text(view.why)),
            ("holds", Json::texts(&holds)),
            ("outcome", Json::Text(view.outcome)),
        ])
        .compact()
    };
    format!("[{}]\n", views.iter().map(one).collect::<Vec<_>>().join(","))
}

/// `gc`: a line for each, and what they hold below it.
pub(crate) fn gc_table(views: &[GcView], is_forced: bool) -> String {
    let mut out = String::new();
    for view in views {
        out.push_str(&format!("{}: {}, {}\n", view.id, view.why, view.outcome));
        out.extend(view.holds.iter().map(|held| format!("    {held}\n")));
    }
    let count = views.len();
    out + &match (count, is_forced) {
        (0, _) => "nothing is left of dead containers\n".to_owned(),
        (_, true) => format!("{count} dead\n"),
        (_, false) => format!("{count} dead; --force removes what they have left\n"),
    }
}

/// `ps --format json`: one line; `null` without processes.
pub(crate) fn ps_json(pids: &[i32]) -> String {
    let list = match pids {
        [] => Json::Null,
        pids => Json::List(pids.iter().map(|pid| Json::Int(i64::from(*pid))).collect()),
    };
    list.compact() + "\n"
}

/// `ps`: of the output of the host's ps(1), the head and the lines of these processes.
pub(crate) fn ps_table(output: &str, pids: &[i32]) -> Result<String> {
    let mut lines = output.split('\n');
    let head = lines.next().unwrap_or("");
    let Some(column) = head.split_whitespace().position(|title| title == "PID") else {
        bail!("couldn't find PID field in ps output");
    };
    let mut out = format!("{head}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or("");
        let Ok(pid) = field.parse::<i32>() else {
            bail!("unable to parse pid: {} is not a number", go_quote(field));
        };
        if pids.contains(&pid) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(annotations: &'a BTreeMap<String, String>) -> StateView<'a> {
        StateView {
            oci_version: "1.2.0",
            id: "demo",
            pid: 6051,
            status: "running",
            bundle: "/tmp/b<1>",
            rootfs: "/tmp/b<1>/rootfs",
            created: "2026-11-24T11:36:33.120000001Z",
            annotations,
            owner: "",
            details: None,
        }
    }

    #[test]
    fn state_as_runc_prints_it() {
        let annotations = BTreeMap::from([("z".into(), "1".into()), ("a".into(), "&".into())]);
        let expected = r#"{
  "ociVersion": "1.2.0",
  "id": "demo",
  "pid": 6051,
  "status": "running",
  "bundle": "/tmp/b\u003c1\u003e",
  "rootfs": "/tmp/b\u003c1\u003e/rootfs",
  "created": "2026-11-24T11:36:33.120000001Z",
  "annotations": {
    "a": "\u0026",
    "z": "1"
  },
  "owner": ""
}"#;
        assert_eq!(state(&view(&annotations)), expected);
        assert!(!state(&view(&BTreeMap::new())).contains("annotations"));
    }

    #[test]
    fn state_fits_the_specification_s_schema() {
        let violations = |text: &str| super::super::schema::violations("state-schema.json", text);
        let annotations = BTreeMap::from([("a".into(), "b".into())]);
        let view = view(&annotations);
        assert_eq!(violations(&state(&view)), [] as [String; 0]);
        let found = violations(&state(&StateView { status: "gone", ..view }));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn list_is_a_table_of_wide_columns() {
        let none = BTreeMap::new();
        let head = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(list_table(&[]), head);
        let short = StateView { id: "é", pid: 0, status: "stopped", owner: "root", ..view(&none) };
        let long = StateView { id: "a-rather-long-id", owner: "#1000", ..view(&none) };
        let expected = "\
ID                 PID         STATUS      BUNDLE      CREATED                          OWNER
é                  0           stopped     /tmp/b<1>   2026-11-24T11:36:33.120000001Z   root
a-rather-long-id   6051        running     /tmp/b<1>   2026-11-24T11:36:33.120000001Z   #1000
";
        assert_eq!(list_table(&[short, long]), expected);
        assert_eq!(list_quiet(&[short, long]), "é\na-rather-long-id\n");
    }

    #[test]
    fn a_list_that_runc_1_5_printed() {
        let annotations = BTreeMap::from([("a".into(), "1".into()), ("z.b".into(), "<x>".into())]);
        let view = StateView {
            oci_version: "1.3.0",
            id: "oracle",
            pid: 15594,
            status: "running",
            bundle: "/tmp/spec/b",
            rootfs: "/tmp/spec/b/rootfs",
            created: "2026-11-24T11:53:29.440238774Z",
            annotations: &annotations,
            owner: "root",
            details: None,
        };
        let table = "\
ID          PID         STATUS      BUNDLE        CREATED                          OWNER
oracle      15594       running     /tmp/spec/b   2026-11-24T11:53:29.440238774Z   root
";
        assert_eq!(list_table(&[view]), table);
        let json = r#"[{"ociVersion":"1.3.0","id":"oracle","pid":15594,"status":"running","bundle":"/tmp/spec/b","rootfs":"/tmp/spec/b/rootfs","created":"2026-11-24T11:53:29.440238774Z","annotations":{"a":"1","z.b":"\u003cx\u003e"},"owner":"root"}]"#;
        assert_eq!(list_json(&[view]), format!("{json}\n"));
    }

    #[test]
    fn list_json_is_one_line() {
        let none = BTreeMap::new();
        assert_eq!(list_json(&[]), "null\n");
        let view =
            StateView { bundle: "/b", rootfs: "/b/r", created: "C", owner: "root", ..view(&none) };
        let one = r#"{"ociVersion":"1.2.0","id":"demo","pid":6051,"status":"running","bundle":"/b","rootfs":"/b/r","created":"C","owner":"root"}"#;
        assert_eq!(list_json(&[view, view]), format!("[{one},{one}]\n"));
    }

    #[test]
    fn ps_keeps_the_head_and_our_lines() {
        let output = "UID          PID    PPID CMD\nroot           1       0 init\nroot          12       1 sh -c PID\n";
        let expected = "UID          PID    PPID CMD\nroot          12       1 sh -c PID\n";
        assert_eq!(ps_table(output, &[12, 99]).unwrap(), expected);
        assert_eq!(ps_json(&[12, 99]), "[12,99]\n");
        assert_eq!(ps_json(&[]), "null\n");
    }

    #[test]
    fn ps_without_a_pid_column_is_refused() {
        let refusal = |output| ps_table(output, &[1]).unwrap_err().to_string();
        assert_eq!(refusal("USER CMD\nroot sh\n"), "couldn't find PID field in ps output");
        assert_eq!(refusal(""), "couldn't find PID field in ps output");
        assert_eq!(refusal("USER PID\nroot\n"), "unable to parse pid: \"\" is not a number");
        assert_eq!(refusal("PID\nx\"\n"), "unable to parse pid: \"x\\\"\" is not a number");
    }
}
