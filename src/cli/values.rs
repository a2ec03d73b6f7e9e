// SPDX-License-Identifier: Apache-2.0
//! Values of flags: sizes, durations, signals, booleans, ids. Pure; each refusal names the value.

use std::time::Duration;

use crate::bail;
use crate::error::{Error, Result};

/// A container's id: what can be a file name made of letters, digits, `_`, `+`, `-` and `.`.
pub(crate) fn container_id(id: &str) -> Result<String> {
    if id.is_empty() {
        bail!("container id cannot be empty");
    }
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id == "." || id == ".." || !id.chars().all(is_fine) {
        bail!("invalid container ID format");
    }
    Ok(id.to_owned())
}

/// `1 t T true TRUE True 0 f F false FALSE False`, as Go has it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes, as docker/go-units `RAMInBytes` reads them: a decimal number, perhaps a space, and perhaps
/// a unit of 1024 (`k`, `m`, `g`, `t`, `p`, each also with `b` or `ib`). -1 is no limit.
pub(crate) fn memory_size(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let Some(last) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
        bail!("invalid size: '{text}'");
    };
    let (number, unit) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number = match number.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => number,
        _ => bail!("invalid size: '{text}'"),
    };
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => bail!("invalid suffix: '{unit}'"),
    };
    let bytes = number * (1_u64 << shift) as f64;
    // Beyond i64 the limit would silently become another one.
    if bytes >= i64::MAX as f64 {
        bail!("invalid size: '{text}' is too large");
    }
    Ok(bytes as i64)
}

/// A duration as Go writes it, with its words for what is none: `300ms`, `1.5h`, `2h45m`, `0`. A negative
/// one reads as zero: too short either way.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let invalid = || Error::text(format!("time: invalid duration {text:?}"));
    let is_negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let (number, unit);
        (number, rest) = rest.split_at(number_end(rest));
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        (unit, rest) = rest.split_at(end);
        let (whole, fraction) = digits_of(number).ok_or_else(invalid)?;
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => bail!("time: missing unit in duration {text:?}"),
            _ => bail!("time: unknown unit {unit:?} in duration {text:?}"),
        };
        nanos = nanos.saturating_add(whole * unit + fraction * unit / WHOLE);
    }
    // Go's durations are 64-bit nanoseconds.
    let nanos = i64::try_from(nanos).map_err(|_| invalid())?;
    Ok(if is_negative { Duration::ZERO } else { Duration::from_nanos(nanos.unsigned_abs()) })
}

/// What a fraction is counted in: more digits than any unit has nanoseconds.
const WHOLE: u128 = 10_u128.pow(18);

/// A decimal number as its whole part and its fraction, exactly; None: no digit, or far too many.
fn digits_of(number: &str) -> Option<(u128, u128)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = format!("{fraction:0<18.18}").parse().ok()?;
    Some((whole.into(), fraction))
}

/// Digits, and a point and more digits.
fn number_end(text: &str) -> usize {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(text);
    match text[whole..].strip_prefix('.') {
        Some(fraction) => whole + 1 + digits(fraction),
        None => whole,
    }
}

const SIGNALS: &[(&str, i32)] = &[
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("IOT", libc::SIGIOT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("POLL", libc::SIGPOLL),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

/// The lowest real-time signal that glibc leaves to programs, and the highest.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal by name, with or without `SIG`, in any case, `RTMIN+n` and `RTMAX-n` included, or by
/// number from 0 (which only asks whether the process is there).
pub(crate) fn signal(text: &str) -> Result<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = match text.parse() {
        Ok(number) => Some(number),
        Err(_) => SIGNALS.iter().find(|row| row.0 == name).map(|row| row.1).or(realtime(name)),
    };
    match number {
        Some(number) if (0..=RTMAX).contains(&number) => Ok(number),
        _ => bail!("unknown signal {text:?}"),
    }
}

fn realtime(name: &str) -> Option<i32> {
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest)?)?
    } else {
        RTMAX.checked_add(offset(name.strip_prefix("RTMAX")?)?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// A user or group id. -1, as 4294967295, is no id: the kernel reads it as "leave it as it is", which
/// would run the process as root (CVE-2026-30892 in crun).
pub(crate) fn numeric_id(what: &str, text: &str) -> Result<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(id) if is_number && id != u32::MAX => Ok(id),
        _ => bail!("bad {what}: {text:?} is not a number from 0 to 4294967294"),
    }
}

/// `UID[:GID]`.
pub(crate) fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(numeric_id("gid", gid)?)),
        None => (text, None),
    };
    Ok((numeric_id("uid", uid)?, gid))
}

/// `--cgroup` values as (controller, path) pairs; one bare path has an empty controller.
pub(crate) fn sub_cgroups(values: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for value in values {
        let Some((controllers, path)) = value.split_once(':') else {
            if values.len() > 1 {
                bail!("invalid --cgroup argument: {value} (missing <controller>: prefix)");
            }
            return Ok(vec![(String::new(), value.clone())]);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                bail!("invalid --cgroup argument: {value} (empty <controller> prefix)");
            }
            if pairs.iter().any(|pair| pair.0 == controller) {
                bail!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                );
            }
            pairs.push((controller.to_owned(), path.to_owned()));
        }
    }
    Ok(pairs)
}

/// For the fuzz targets: each reader takes any text.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(text: &str) {
    if let Ok(bytes) = memory_size(text) {
        assert!(bytes >= -1, "{text:?}: {bytes}");
    }
    drop(duration(text));
    if let Ok(number) = signal(text) {
        assert!((0..=64).contains(&number), "{text:?}: {number}");
    }
    drop((container_id(text), numeric_id("uid", text), user(text)));
    drop(sub_cgroups(&[text.to_owned()]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn ids_are_runc_s() {
        for good in ["a", "a.b_c+d-e", "...", "0", "-x"] {
            assert_eq!(container_id(good).unwrap(), good);
        }
        for bad in [".", "..", "a/b", "a b", "é", "a\n", "a:b"] {
            assert_eq!(refusal(container_id(bad)), "invalid container ID format", "{bad}");
        }
        assert_eq!(refusal(container_id("")), "container id cannot be empty");
    }

    #[test]
    fn sizes_are_go_units() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32k", 32 << 10),
            ("32KB", 32 << 10),
            ("32 MiB", 32 << 20),
            ("1.5g", 3 << 29),
            ("1t", 1 << 40),
            ("2p", 2 << 50),
            ("0", 0),
            ("-1", -1),
        ] {
            assert_eq!(memory_size(text).unwrap(), bytes, "{text}");
        }
        assert_eq!(refusal(memory_size("")), "invalid size: ''");
        assert_eq!(refusal(memory_size("hello")), "invalid size: 'hello'");
        assert_eq!(refusal(memory_size("-32")), "invalid size: '-32'");
        assert_eq!(refusal(memory_size("32kbx")), "invalid suffix: 'kbx'");
        assert_eq!(refusal(memory_size("9999999p")), "invalid size: '9999999p' is too large");
    }

    #[test]
    fn durations_are_go_s() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("1us", 1000),
            ("1µs", 1000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_nanos(nanos), "{text}");
        }
        for (text, nanos) in [
            ("1h2m3.5s", 3_723_500_000_000),
            ("-1s", 0),
            ("+1ms", 1_000_000),
            ("1.001s", 1_001_000_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_nanos(nanos), "{text}");
        }
        for bad in ["", "s", ".s", "x", "1.s.", "300000000h"] {
            assert_eq!(refusal(duration(bad)), format!("time: invalid duration {bad:?}"));
        }
        for bad in ["5", "1.2.3s", "1.5.2s", "3s4"] {
            assert_eq!(refusal(duration(bad)), format!("time: missing unit in duration {bad:?}"));
        }
        assert_eq!(refusal(duration("1x")), r#"time: unknown unit "x" in duration "1x""#);
        assert_eq!(refusal(duration("1e3s")), r#"time: unknown unit "e" in duration "1e3s""#);
    }

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("rtmax-1", 63),
            ("WINCH", 28),
        ] {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        for bad in ["NOPE", "65", "-9", "", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX+1"] {
            assert_eq!(refusal(signal(bad)), format!("unknown signal {bad:?}"));
        }
    }

    #[test]
    fn minus_one_and_overflow_are_no_user() {
        assert_eq!(user("0").unwrap(), (0, None));
        assert_eq!(user("1000:4294967294").unwrap(), (1000, Some(4_294_967_294)));
        for bad in ["-1", "4294967295", "4294967296", "root", "", "+1", " 1", "1:"] {
            let message = refusal(user(bad));
            assert!(message.ends_with("is not a number from 0 to 4294967294"), "{message}");
        }
        assert_eq!(
            refusal(user("0:wheel")),
            "bad gid: \"wheel\" is not a number from 0 to 4294967294"
        );
    }

    #[test]
    fn sub_cgroups_per_controller_or_one_path() {
        let of = |values: &[&str]| {
            sub_cgroups(&values.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of(&[]).unwrap(), []);
        assert_eq!(of(&["sub"]).unwrap(), [pair("", "sub")]);
        let expected = [pair("cpu", "x"), pair("cpuacct", "x"), pair("pids", "y")];
        assert_eq!(of(&["cpu,cpuacct:x", "pids:y"]).unwrap(), expected);
        assert_eq!(
            refusal(of(&["a:x", "y"])),
            "invalid --cgroup argument: y (missing <controller>: prefix)"
        );
        assert_eq!(
            refusal(of(&[":x"])),
            "invalid --cgroup argument: :x (empty <controller> prefix)"
        );
        assert_eq!(
            refusal(of(&["a:x", "a:y"])),
            "invalid --cgroup argument(s): controller a specified multiple times"
        );
    }

    proptest::proptest! {
        /// As Go prints one, and in each unit alone with a fraction.
        #[test]
        fn a_duration_reads_back(nanos in 0..i64::MAX) {
            let want = Duration::from_nanos(nanos.unsigned_abs());
            let (rest, hours) = (nanos % 3_600_000_000_000, nanos / 3_600_000_000_000);
            let (rest, minutes) = (rest % 60_000_000_000, rest / 60_000_000_000);
            let seconds = |n: i64| format!("{}.{:09}s", n / 1_000_000_000, n % 1_000_000_000);
            for text in [
                format!("{hours}h{minutes}m{}", seconds(rest)),
                seconds(nanos),
                format!("{}.{:06}ms", nanos / 1_000_000, nanos % 1_000_000),
                format!("{}.{:03}µs", nanos / 1000, nanos % 1000),
                format!("+{nanos}ns"),
            ] {
                proptest::prop_assert_eq!(duration(&text).unwrap(), want, "{}", text);
            }
            proptest::prop_assert_eq!(duration(&format!("-{nanos}ns")).unwrap(), Duration::ZERO);
        }

        #[test]
        fn whole_sizes_are_exact(number in 0..1_i64 << 13, shift in 0..6_usize) {
            let unit = ["", "k", "m", "g", "t", "p"][shift];
            let want = number.checked_shl(u32::try_from(shift).unwrap() * 10).unwrap();
            if want >> (shift * 10) == number {
                proptest::prop_assert_eq!(memory_size(&format!("{number}{unit}")).unwrap(), want);
                let text = format!("{number} {}ib", if unit.is_empty() { "k" } else { unit });
                let want = if unit.is_empty() { number << 10 } else { want };
                proptest::prop_assert_eq!(memory_size(&text).unwrap(), want);
            }
        }

        #[test]
        fn a_signal_has_one_number(number in 0..=64_i32) {
            proptest::prop_assert_eq!(signal(&number.to_string()).unwrap(), number);
            for (name, of) in SIGNALS.iter().filter(|row| row.1 == number) {
                proptest::prop_assert_eq!(signal(&format!("sig{}", name.to_lowercase())).unwrap(), *of);
            }
        }
    }
}
