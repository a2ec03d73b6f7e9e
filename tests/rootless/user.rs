// SPDX-License-Identifier: Apache-2.0
//! An ordinary user to run containers as. The tests are root and become that user by themselves, in a
//! private mount namespace in which the user is known and has subordinate ids: nothing of the host's
//! files is changed, and nothing but a directory is left to remove.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{Bundle, Run, Value, has, json, runtime};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The subordinate ids that the user is given: these many from these on.
pub(crate) const SUBUID: u32 = 1_000_000;
pub(crate) const SUBGID: u32 = 2_000_000;
pub(crate) const SUBIDS: u32 = 65536;

/// What the user sees at /sys/fs/cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// The host's, with no rights to anything.
    Host,
    /// cgroup2 alone.
    V2,
    /// cgroup2 alone, the user in a cgroup below one that is delegated to him.
    Delegated,
}

pub(crate) struct User {
    base: PathBuf,
    pub(crate) id: u32,
    cgroups: Cgroups,
    /// Supplementary groups.
    pub(crate) groups: &'static str,
    /// What root does before in the private mount namespace.
    pub(crate) before: &'static str,
    /// Beside HOME, PATH, USER and XDG_RUNTIME_DIR.
    pub(crate) env: Vec<(&'static str, String)>,
}

impl User {
    /// None: this machine cannot; the reason is printed.
    pub(crate) fn new() -> Option<Self> {
        Self::with(Cgroups::Host)
    }

    pub(crate) fn with(cgroups: Cgroups) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIP: only root can become an ordinary user");
            return None;
        }
        if let Some(missing) = ["unshare", "setpriv"].into_iter().find(|tool| !has(tool)) {
            println!("SKIP: {missing} is not installed");
            return None;
        }
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("creel-rootless-{}-{n}", std::process::id()));
        let user = Self { base, id: free_id(), cgroups, groups: "", before: "", env: Vec::new() };
        user.make_home();
        let probe = user.sh("unshare --user --map-root-user true");
        if probe.code != 0 {
            println!("SKIP: no user namespaces for an ordinary user here: {}", probe.err.trim());
            return None;
        }
        Some(user)
    }

    fn make_home(&self) {
        for dir in ["etc", "bin", "home", "run"] {
            fs::create_dir_all(self.base.join(dir)).expect("make the user's directories");
        }
        fs::set_permissions(&self.base, fs::Permissions::from_mode(0o755)).expect("chmod");
        for dir in ["home", "run"] {
            chown(self.base.join(dir), Some(self.id), Some(self.id)).expect("chown");
        }
        fs::set_permissions(self.run_dir(), fs::Permissions::from_mode(0o700)).expect("chmod");
        fs::write(self.base.join("bin/creel"), "").expect("a place for creel");
        let id = self.id;
        let with_line = |name: &str, line: &str| {
            let known = fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
            fs::write(self.base.join("etc").join(name), format!("{known}{line}\n")).expect(name);
        };
        with_line("passwd", &format!("{NAME}:x:{id}:{id}::{}:/bin/sh", self.home().display()));
        with_line("group", &format!("{NAME}:x:{id}:"));
        with_line("subuid", &format!("{NAME}:{SUBUID}:{SUBIDS}"));
        with_line("subgid", &format!("{NAME}:{SUBGID}:{SUBIDS}"));
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// `$XDG_RUNTIME_DIR`.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.base.join("run")
    }

    /// Whether newuidmap and newgidmap can serve; prints why not.
    pub(crate) fn has_subids(&self) -> bool {
        let tools = has("newuidmap") && has("newgidmap");
        let files = Path::new("/etc/subuid").exists() && Path::new("/etc/subgid").exists();
        if !tools || !files {
            println!("SKIP: subordinate ids take newuidmap, newgidmap, /etc/subuid, /etc/subgid");
        }
        tools && files
    }

    /// A shell as that user, in HOME; `creel` is in PATH.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", BECOME, "sh", script]);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.envs([
            ("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", self.base())),
            ("BASE", self.base().to_owned()),
            ("CREEL", runtime().display().to_string()),
            ("ID", self.id.to_string()),
            ("BEFORE", self.before.to_owned()),
            ("GROUPS_OF", self.groups.to_owned()),
            ("CGROUPS", format!("{:?}", self.cgroups)),
            ("HOME", self.home().display().to_string()),
            ("XDG_RUNTIME_DIR", self.run_dir().display().to_string()),
        ]);
        if !self.env.iter().any(|(name, _)| *name == "USER") {
            command.env("USER", NAME);
        }
        command
    }

    fn base(&self) -> &str {
        self.base.to_str().expect("UTF-8")
    }

    /// Runs it to its end; through files, since a container may keep the output open.
    pub(crate) fn sh(&self, script: &str) -> Run {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let [out, err] = ["out", "err"].map(|name| self.base.join(format!("{name}{n}")));
        let file = |path: &Path| fs::File::create(path).expect("an output file");
        let mut command = self.command(script);
        command.stdin(std::process::Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let status = command.status().expect("unshare starts");
        let [stdout, stderr] = [out, err].map(|path| fs::read(path).expect("the output"));
        std::process::Output { status, stdout, stderr }.into()
    }

    /// A bundle that belongs to the user, in the shape of `spec --rootless`; `script` is for sh.
    pub(crate) fn bundle(&self, script: &str) -> Bundle {
        let mut bundle = Bundle::new(script);
        let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        bundle.config["linux"]["uidMappings"] = map(self.id);
        bundle.config["linux"]["gidMappings"] = map(self.id);
        bundle.config["linux"].as_object_mut().expect("linux").remove("resources");
        let list = bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        list.push(json!({"type": "user"}));
        for mount in bundle.config["mounts"].as_array_mut().expect("mounts") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
        // Directories only: the programs may be links to those of the host.
        for dir in ["", "rootfs"] {
            chown(bundle.dir.join(dir), Some(self.id), Some(self.id)).expect("chown");
        }
        for dir in fs::read_dir(bundle.rootfs()).expect("the root") {
            let dir = dir.expect("the root").path();
            if dir.is_dir() && !dir.is_symlink() {
                chown(dir, Some(self.id), Some(self.id)).expect("chown");
            }
        }
        bundle
    }

    /// `creel ARGS ID REST` in the bundle's directory, after its config is written.
    pub(crate) fn creel(&self, bundle: &Bundle, args: &str) -> Run {
        bundle.write();
        self.sh(&format!("cd {}; creel {args}", bundle.dir.display()))
    }

    /// `creel run` in the foreground.
    pub(crate) fn run(&self, bundle: &Bundle) -> Run {
        self.creel(bundle, &format!("run {}", bundle.id()))
    }

    #[track_caller]
    pub(crate) fn start_detached(&self, bundle: &Bundle) {
        self.creel(bundle, &format!("run --detach {}", bundle.id())).ok();
    }

    /// `creel exec`, with the program as the shell reads it.
    pub(crate) fn exec(&self, bundle: &Bundle, program: &str) -> Run {
        self.sh(&format!("creel exec {} {program}", bundle.id()))
    }

    #[track_caller]
    pub(crate) fn state(&self, bundle: &Bundle) -> Value {
        let run = self.sh(&format!("creel state {}", bundle.id())).ok();
        serde_json::from_str(&run.out).expect("state is JSON")
    }

    #[track_caller]
    pub(crate) fn pid(&self, bundle: &Bundle) -> i32 {
        i32::try_from(self.state(bundle)["pid"].as_i64().expect("a pid")).expect("a pid")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let clear = "for id in $(creel list --quiet); do creel delete --force $id; done";
        self.sh(clear);
        if self.cgroups == Cgroups::Delegated {
            // The host's own mounts are left as they are: this needs the view of the user.
            let name = self.base.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            let script = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; cd /sys/fs/cgroup; \
                          for d in $1/*/; do [ ! -d $d ] || rmdir $d; done; rmdir $1";
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", name]);
            assert!(command.status().is_ok_and(|status| status.success()), "a cgroup is left");
        }
        let _ = fs::remove_dir_all(&self.base);
    }
}

const NAME: &str = "creel-test-user";

/// An id that nobody has; another one in each run, as limits count the processes of all runs at once.
fn free_id() -> u32 {
    let known = ["/etc/passwd", "/etc/group"].map(|f| fs::read_to_string(f).unwrap_or_default());
    let taken = |id: &u32| {
        let id = id.to_string();
        known.iter().flat_map(|text| text.lines()).any(|line| line.split(':').nth(2) == Some(&id))
    };
    let first = 60_100 + std::process::id() % 1000;
    (first..first + 100).find(|id| !taken(id)).expect("a free id")
}

/// Root's part, in the private mount namespace; `$1` is the user's script.
const BECOME: &str = r#"
for file in passwd group subuid subgid; do
    [ ! -e /etc/$file ] || mount --bind "$BASE/etc/$file" /etc/$file
done
mount --bind "$CREEL" "$BASE/bin/creel"
case $CGROUPS in
Host) ;;
*)  umount -R /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup ;;
esac
if [ $CGROUPS = Delegated ]; then
    top=/sys/fs/cgroup/$(basename "$BASE")
    mkdir -p $top/user
    chown $ID:$ID $top $top/cgroup.procs $top/cgroup.subtree_control $top/user $top/user/cgroup.procs
    # With LEAVE the cgroups are the user's and the user is elsewhere.
    [ -n "$LEAVE" ] || echo 0 > $top/user/cgroup.procs
fi
eval "$BEFORE"
cd "$HOME"
if [ -n "$GROUPS_OF" ]; then groups="--groups $GROUPS_OF"; else groups=--clear-groups; fi
exec setpriv --reuid $ID --regid $ID $groups -- sh -c "$1"
"#;
