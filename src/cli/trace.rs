// SPDX-License-Identifier: Apache-2.0
//! `timings`: a trace of `--timings` as a table, or as a picture.

use std::fmt::Write;

use serde::Deserialize;

use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    trace_events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Event {
    name: String,
    cat: String,
    ph: String,
    ts: f64,
    dur: f64,
    args: Args,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Args {
    name: String,
}

/// A trace as it is shown: its title, and its steps by their beginning, in microseconds.
pub(crate) struct Steps {
    title: String,
    steps: Vec<Event>,
    end: f64,
}

/// How wide the bars of the table are.
const BAR: usize = 32;

impl Steps {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let trace: Trace = serde_json::from_str(text)
            .map_err(|error| Error::text(format!("not a trace of --timings: {error}")))?;
        let mut title = String::new();
        let mut steps = Vec::new();
        for event in trace.trace_events {
            match event.ph.as_str() {
                "X" => steps.push(event),
                "M" if event.name == "process_name" => title = event.args.name,
                _ => {}
            }
        }
        if steps.is_empty() {
            return Err(Error::text("not a trace of --timings: there are no steps in it"));
        }
        steps.sort_by(|a, b| a.ts.total_cmp(&b.ts));
        let end = steps.iter().map(|step| step.ts + step.dur).fold(0.0, f64::max);
        Ok(Self { title, steps, end })
    }

    /// For people: when each step began and how long it took, in milliseconds.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{}: {:.3} ms\n", self.title, self.end / 1000.0);
        out += &format!("{:>10}{:>10}  {:<8}{:<BAR$}  STEP\n", "START", "TIME", "LANE", "");
        for step in &self.steps {
            let (from, to) = (self.column(step.ts, BAR), self.column(step.ts + step.dur, BAR));
            let sign = if step.cat == "child" { "=" } else { "#" };
            let bar = " ".repeat(from) + &sign.repeat((to - from).max(1));
            let (start, time) = (step.ts / 1000.0, step.dur / 1000.0);
            let _ = writeln!(
                out,
                "{start:>10.3}{time:>10.3}  {:<8}{bar:<BAR$}  {}",
                step.cat, step.name
            );
        }
        out
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    fn column(&self, at: f64, width: usize) -> usize {
        ((at / self.end.max(0.001)) * width as f64) as usize
    }

    /// A row for each step, its bar where it happened.
    pub(crate) fn svg(&self) -> String {
        const ROW: usize = 18;
        const WIDTH: usize = 700;
        let height = (self.steps.len() + 3) * ROW;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1300\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"10\" y=\"20\" font-weight=\"bold\">{}: {:.3} ms</text>\n\
             <text x=\"400\" y=\"20\" fill=\"#3465a4\">parent</text><text x=\"460\" y=\"20\" fill=\"#c4730a\">child</text>\n",
            escape(&self.title),
            self.end / 1000.0
        );
        for (i, step) in self.steps.iter().enumerate() {
            let (from, to) = (self.column(step.ts, WIDTH), self.column(step.ts + step.dur, WIDTH));
            let (y, width) = ((i + 2) * ROW, (to - from).max(1));
            let colour = if step.cat == "child" { "#c4730a" } else { "#3465a4" };
            let name = escape(&step.name);
            let _ = writeln!(
                out,
                "<rect x=\"{}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{name} <tspan fill=\"#777\">{:.1} µs</tspan></text>",
                from + 10,
                ROW - 4,
                from + width + 16,
                y + 12,
                step.dur
            );
        }
        out + "</svg>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"{"displayTimeUnit":"ms","traceEvents":[
{"name":"process_name","ph":"M","pid":7,"tid":7,"args":{"name":"creel run <x>"}},
{"name":"plan","cat":"parent","ph":"X","ts":0.000,"dur":1000.000,"pid":7,"tid":7},
{"name":"mounts[2]","cat":"child","ph":"X","ts":1000.000,"dur":3000.000,"pid":7,"tid":8}
]}"#;

    #[test]
    fn a_table_with_bars() {
        let want = "\
creel run <x>: 4.000 ms
     START      TIME  LANE                                      STEP
     0.000     1.000  parent  ########                          plan
     1.000     3.000  child           ========================  mounts[2]
";
        assert_eq!(Steps::read(TRACE).ok().unwrap().table(), want);
    }

    #[test]
    fn a_picture_with_a_bar_for_each_step() {
        let svg = Steps::read(TRACE).ok().unwrap().svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("creel run &lt;x&gt;: 4.000 ms"));
        assert!(svg.contains(r##"<rect x="185" y="54" width="525" height="14" fill="#c4730a"/>"##));
    }

    #[test]
    fn anything_else_is_refused() {
        let refusal = |text| Steps::read(text).err().unwrap().to_string();
        assert_eq!(
            refusal(r#"{"traceEvents":[]}"#),
            "not a trace of --timings: there are no steps in it"
        );
        assert!(refusal("[]x").starts_with("not a trace of --timings: "));
    }
}
