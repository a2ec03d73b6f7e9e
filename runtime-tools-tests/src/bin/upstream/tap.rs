//! What a program of the suite really said. Its exit status alone says little: several print an
//! error and a plan of no tests, and exit 0.
// SPDX-License-Identifier: Apache-2.0

/// None if the program passed by strict counting, else why it did not.
pub(crate) fn judge(code: Option<i32>, out: &str, err: &str) -> Option<String> {
    let bad: Vec<&str> = out.lines().filter(|line| line.starts_with("not ok")).collect();
    let good = out.lines().filter(is_good).count();
    if let Some(first) = bad.first() {
        return Some(format!("{} of {} not ok, first: {first}", bad.len(), bad.len() + good));
    }
    match code {
        Some(0) => {}
        Some(code) => return Some(format!("exit status {code}: {}", last_line(err))),
        None => return Some(format!("killed by a signal: {}", last_line(err))),
    }
    let documents = documents(out);
    if documents.is_empty() {
        return Some(format!("no plan: {}", last_line(err)));
    }
    documents.iter().find_map(|document| incomplete(document))
}

/// A program may print more than one TAP document, each with a plan of its own.
fn documents(out: &str) -> Vec<Vec<&str>> {
    let mut documents: Vec<Vec<&str>> = Vec::new();
    for line in out.lines() {
        if line.starts_with("TAP version") || documents.is_empty() {
            documents.push(Vec::new());
        }
        documents.last_mut().expect("one was pushed just now at the latest").push(line);
    }
    documents
}

fn is_good(line: &&str) -> bool {
    line.starts_with("ok ")
}

/// Why a document without `not ok` is no pass.
fn incomplete(lines: &[&str]) -> Option<String> {
    let plans: Vec<&&str> = lines.iter().filter(|line| line.starts_with("1..")).collect();
    let good = lines.iter().copied().filter(is_good).count();
    let [plan] = plans.as_slice() else {
        return Some(format!("{} plans instead of one for {good} results", plans.len()));
    };
    let planned: Option<usize> = plan[3..].split_whitespace().next().and_then(|n| n.parse().ok());
    if planned != Some(good) {
        return Some(format!("the plan is {plan}, but there are {good} results"));
    }
    // A plan of nothing is a pass only if nothing was complained of.
    let complaint = lines.iter().find(|line| line.trim_start().starts_with("\"error\""));
    complaint.filter(|_| good == 0).map(|line| format!("no results, but {}", line.trim()))
}

fn last_line(text: &str) -> &str {
    let tells = |line: &&str| !line.trim().is_empty() && !line.starts_with("exit status ");
    text.lines().rev().find(tells).unwrap_or("nothing on stderr")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(code: i32, out: &str) -> bool {
        judge(Some(code), out, "").is_none()
    }

    #[test]
    fn a_full_plan_without_failures_passes() {
        assert!(passes(0, "TAP version 13\nok 1 - a\nok 2 # SKIP b\n1..2\n"));
    }

    #[test]
    fn failures_count_whatever_the_exit_status() {
        assert!(!passes(0, "ok 1 - a\nnot ok 2 - b\n1..2\n"));
        assert!(!passes(1, "ok 1 - a\n1..1\n"));
        assert_eq!(judge(None, "1..0\n", "boom\n"), Some("killed by a signal: boom".into()));
    }

    #[test]
    fn the_plan_is_held_against_the_results() {
        assert!(!passes(0, ""));
        assert!(!passes(0, "ok 1 - a\n"));
        assert!(!passes(0, "ok 1 - a\n1..2\n"));
        assert!(!passes(0, "ok 1 - a\n1..1\n1..1\n"));
        assert!(passes(0, "TAP version 13\nok 1 - a\n1..1\nTAP version 13\n1..0\n"));
        assert!(!passes(0, "TAP version 13\nok 1 - a\n1..1\nTAP version 13\nok 1 - a\n"));
    }

    #[test]
    fn an_empty_plan_passes_only_in_silence() {
        assert!(passes(0, "TAP version 13\n1..0\n"));
        assert!(!passes(0, "TAP version 13\n  ---\n  {\n    \"error\": \"x\"\n  }\n  ...\n1..0\n"));
    }
}
