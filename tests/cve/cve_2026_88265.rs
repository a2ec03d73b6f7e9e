// SPDX-License-Identifier: Apache-2.0
//! Standard streams were opened anew through the container's /dev/null, a link in the image, and what
//! that led to was given to the container's user.

use std::fs;

use super::arena::{Arena, delete, replace_by_link, wrapped};
use super::case::{Case, Outcome, Stop, vulnerable};
use super::common::{Bundle, json};
use super::cve_2026_41579::without_dev;

pub(crate) const CASE: Case = Case {
    id: "CVE-2026-88265",
    who: "crun",
    attack: "/dev/null of the image is a link; the streams are closed or /dev/null",
    run,
    weaken: |weak| {
        if weak.is_entering() {
            std::os::unix::fs::chown(weak.decoy("null"), Some(1000), Some(1000)).expect("chown");
        }
    },
};

/// The runtime's streams when it starts.
const STREAMS: [&str; 3] = [
    r#"exec "$@" <&- >&- 2>&-"#,
    r#"exec "$@" <&-"#,
    r#"exec "$@" </dev/null >/dev/null 2>/dev/null"#,
];

fn run(arena: &Arena) -> Outcome {
    let (mut refused, mut tried) = (0, 0);
    for streams in STREAMS {
        for target in [arena.decoy("null"), arena.decoy("created"), "/secret".into()] {
            for has_user in [false, true] {
                let mut bundle = Bundle::with_args(&["/bin/sleep", "100"]);
                bundle.set("/root/readonly", json!(false));
                if has_user {
                    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
                }
                without_dev(&mut bundle);
                fs::write(bundle.rootfs().join("secret"), "the image's").expect("write");
                replace_by_link(&bundle.rootfs().join("dev/null"), &target);
                bundle.write();
                let wrapper = ["sh", "-c", streams, "sh"];
                let run = wrapped(&bundle, &wrapper, &["create", bundle.id()]);
                if run.code == 0 {
                    streams_are_the_hosts(&bundle)?;
                } else {
                    refused += 1;
                }
                tried += 1;
                delete(&bundle);
                arena.untouched()?;
            }
        }
    }
    Ok(format!("{refused} of {tried} refused"))
}

/// No stream is a file that the link leads to.
fn streams_are_the_hosts(bundle: &Bundle) -> Result<(), Stop> {
    for stream in 0..3 {
        let path = format!("/proc/{}/fd/{stream}", bundle.pid());
        let Ok(about) = fs::metadata(&path) else { continue };
        let is_regular = about.is_file();
        let target = fs::read_link(&path).unwrap_or_default();
        if is_regular && target.ends_with("secret") {
            return vulnerable(format!("stream {stream} is {}", target.display()));
        }
    }
    Ok(())
}
