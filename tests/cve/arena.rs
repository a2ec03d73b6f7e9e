// SPDX-License-Identifier: Apache-2.0
//! The directory that a case happens in: bundles, a volume, a decoy that stands for the host, and a
//! copy of the runtime, so that an attack that succeeds hits nothing else.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::case::{Stop, vulnerable};
use super::common::{Bundle, Run, Value, json};

/// Where the driver has made the arena, for the case and for a weakened runtime.
pub(crate) const DIR: &str = "CREEL_CVE_ARENA";
/// Seconds of each race.
pub(crate) const SECONDS: &str = "CREEL_CVE_SECONDS";
/// Rounds of each race at most.
pub(crate) const ROUNDS: &str = "CREEL_CVE_ROUNDS";

/// What is in the decoy's file; seen in a container it is a breach.
pub(crate) const SECRET: &str = "the-host's-own-secret";

pub(crate) struct Arena {
    dir: PathBuf,
    /// The decoy and the runtime's files as they were.
    before: Vec<Inode>,
}

impl Arena {
    /// Makes what the driver's directory lacks.
    pub(crate) fn set_up(dir: &Path) {
        for name in ["decoy", "decoy/deep/er", "volume"] {
            fs::create_dir_all(dir.join(name)).expect("mkdir");
        }
        for name in ["secret", "ptmx", "null", "console", "deep/er/file", ".krun_config.json"] {
            fs::write(dir.join("decoy").join(name), SECRET).expect("write the decoy");
        }
        symlink("secret", dir.join("decoy/link")).expect("symlink");
    }

    pub(crate) fn open() -> Self {
        let dir = PathBuf::from(std::env::var_os(DIR).expect("the driver has set the arena"));
        let mut arena = Self { dir, before: Vec::new() };
        arena.before = arena.fingerprint();
        arena
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Stands for the host: nothing in a container may reach it.
    pub(crate) fn decoy(&self, name: &str) -> PathBuf {
        self.dir.join("decoy").join(name)
    }

    /// A directory that containers share.
    pub(crate) fn volume(&self) -> PathBuf {
        self.dir.join("volume")
    }

    pub(crate) fn volume_mount(&self, destination: &str) -> Value {
        bind(&self.volume(), destination)
    }

    /// The end of a container that ran through: nothing of the host was changed.
    pub(crate) fn untouched(&self) -> Result<(), Stop> {
        let now = self.fingerprint();
        if now == self.before {
            return Ok(());
        }
        vulnerable(format!("the host's {}", changes(&self.before, &now).join(", ")))
    }

    /// The case itself has changed what is watched.
    pub(crate) fn look_again(&mut self) {
        self.before = self.fingerprint();
    }

    fn fingerprint(&self) -> Vec<Inode> {
        let mut inodes = Vec::new();
        for name in ["decoy", "runtime"] {
            fingerprint(&self.dir.join(name), &mut inodes);
        }
        inodes
    }

    pub(crate) fn race(&self) -> Race {
        let number = |name: &str, default: f64| {
            let text = std::env::var(name).ok();
            text.map_or(default, |text| text.parse().expect("a number"))
        };
        Race {
            begun: Instant::now(),
            seconds: number(SECONDS, 2.0),
            limit: number(ROUNDS, 1e9) as u64,
            rounds: 0,
            part: 0.0,
            before_part: 0,
            lost: 0,
        }
    }
}

/// A race is bounded by time and by rounds.
pub(crate) struct Race {
    begun: Instant,
    seconds: f64,
    limit: u64,
    rounds: u64,
    part: f64,
    before_part: u64,
    /// In which the runtime refused.
    pub(crate) lost: u64,
}

impl Race {
    pub(crate) fn goes_on(&mut self) -> bool {
        self.goes_on_for(1.0)
    }

    /// Until that part of its time is over, but three rounds in each part.
    pub(crate) fn goes_on_for(&mut self, part: f64) -> bool {
        if self.part != part {
            (self.part, self.before_part) = (part, self.rounds);
        }
        let is_over = self.begun.elapsed().as_secs_f64() > self.seconds * part;
        let more = self.rounds < self.limit && (self.rounds - self.before_part < 3 || !is_over);
        self.rounds += u64::from(more);
        more
    }

    pub(crate) fn told(&self) -> String {
        format!("{} rounds, {} of them refused", self.rounds, self.lost)
    }
}

/// One file and all that writing, creating, removing, chown and chmod change.
#[derive(Debug, PartialEq)]
pub(crate) struct Inode {
    path: PathBuf,
    about: String,
}

/// Everything below `dir`, itself included.
pub(crate) fn fingerprint(dir: &Path, inodes: &mut Vec<Inode>) {
    let about = fs::symlink_metadata(dir).expect("stat");
    let content = match about.file_type() {
        kind if kind.is_file() => hash(dir),
        kind if kind.is_symlink() => format!("{:?}", fs::read_link(dir).expect("readlink")),
        _ => String::new(),
    };
    let (ids, time) =
        ((about.ino(), about.uid(), about.gid()), (about.ctime(), about.ctime_nsec()));
    let text = format!("{ids:?} {:o} {time:?} {content}", about.mode());
    inodes.push(Inode { path: dir.to_owned(), about: text });
    if about.is_dir() {
        let entries = fs::read_dir(dir).expect("read the directory");
        let mut names: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        names.sort();
        for name in names {
            fingerprint(&name, inodes);
        }
    }
}

/// In words, by the files' last names.
pub(crate) fn changes(before: &[Inode], now: &[Inode]) -> Vec<String> {
    let find = |list: &[Inode], inode: &Inode| list.iter().any(|other| other.path == inode.path);
    let name = |inode: &Inode| inode.path.file_name().expect("a name").display().to_string();
    let gone = before.iter().filter(|old| !find(now, old)).map(|i| format!("{} is gone", name(i)));
    let changed = now.iter().filter(|new| !before.contains(new));
    let changed = changed.map(|new| match find(before, new) {
        true => format!("{} has changed", name(new)),
        false => format!("{} is new", name(new)),
    });
    gone.chain(changed).collect()
}

/// FNV-1a: a change by an attack is not made to collide with it.
fn hash(path: &Path) -> String {
    let Ok(mut file) = fs::File::open(path) else { return "unreadable".to_owned() };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read");
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// A recursive bind mount as Docker writes it.
pub(crate) fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rw"]})
}

/// A tmpfs that is known by its source's name wherever it lands.
pub(crate) fn marked_tmpfs(name: &str, destination: &str) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": name, "options": ["size=64k"]})
}

/// Runs the container as it is before the hostile part is added: else a refusal would prove nothing.
#[track_caller]
pub(crate) fn control(bundle: &Bundle) {
    let run = bundle.run();
    assert_eq!(run.code, 0, "the container without the attack fails: {}{}", run.out, run.err);
}

/// Ends a container whatever its status is.
pub(crate) fn delete(bundle: &Bundle) {
    if bundle.state_root().join(bundle.id()).exists() {
        bundle.runtime(&["delete", "--force", bundle.id()]);
    }
}

pub(crate) fn write_executable(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// In the place of a file or directory of the image.
pub(crate) fn replace_by_link(path: &Path, target: impl AsRef<Path>) {
    remove(path);
    symlink(target, path).expect("symlink");
}

pub(crate) fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path).expect("remove"),
        Ok(_) => fs::remove_file(path).expect("remove"),
        Err(_) => {}
    }
}

/// Flags of `exec` come before the container's name.
pub(crate) fn exec(bundle: &Bundle, flags: &[&str], args: &[&str]) -> Run {
    bundle.runtime(&[&["exec"], flags, &[bundle.id()], args].concat())
}

/// The runtime under another program: `wrapper` ends where the runtime's own command line begins.
pub(crate) fn wrapped(bundle: &Bundle, wrapper: &[&str], args: &[&str]) -> Run {
    let plain = bundle.command(args);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(&bundle.dir).env_remove("XDG_RUNTIME_DIR");
    bundle.finish(command)
}

/// An unprivileged user of the host.
pub(crate) const USER: u32 = 1234;

/// Makes that user the runtime's process.
pub(crate) const AS_USER: [&str; 5] =
    ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "--inh-caps=-all"];

/// A container that `USER` can make: root in it is the user outside. The bundle becomes the user's.
pub(crate) fn rootless(bundle: &mut Bundle) {
    bundle.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": USER, "size": 1}]));
    bundle.set("/linux/gidMappings", json!([{"containerID": 0, "hostID": USER, "size": 1}]));
    bundle.set("/linux/namespaces/-", json!({"type": "user"}));
    bundle.set("/linux/resources", json!({}));
    without_gid(bundle);
    bundle.write();
    give(&bundle.dir);
}

/// Where only one id is mapped there is no group of terminals.
pub(crate) fn without_gid(bundle: &mut Bundle) {
    for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
}

/// Everything below becomes `USER`'s.
pub(crate) fn give(dir: &Path) {
    let owner = format!("{USER}:{USER}");
    let status = Command::new("chown").args(["-hR", &owner]).arg(dir).status().expect("chown");
    assert!(status.success());
}
