// SPDX-License-Identifier: Apache-2.0
//! `process`: one field per home. The tail that `create` and `exec` share ends in execve.

pub(crate) mod caps;
pub(crate) mod command;
pub(crate) mod fds;
mod home;
pub(crate) mod label;
pub(crate) mod numa;
pub(crate) mod personality;
pub(crate) mod sched;
pub(crate) mod terminal;
pub(crate) mod user;

use self::caps::Caps;
use self::command::Command;
use self::fds::Fds;
use self::label::Label;
use self::numa::Numa;
use self::personality::Personality;
use self::sched::Sched;
use self::terminal::{Receiver, Terminal};
use self::user::User;
use crate::error::Result;
use crate::oci;

#[derive(Debug)]
pub(crate) struct Process {
    pub terminal: Option<Terminal>,
    pub label: Label,
    pub sched: Sched,
    pub personality: Option<Personality>,
    pub numa: Option<Numa>,
    pub caps: Caps,
    pub user: User,
    pub command: Command,
    pub fds: Fds,
}

/// What the command line and the namespaces say about a process.
#[derive(Debug, Default)]
pub(crate) struct ProcessRequest {
    /// It will live in a user namespace of its own, new or joined.
    pub has_user_namespace: bool,
    /// The annotation `run.oci.keep_original_groups` is there.
    pub keeps_groups: bool,
    pub fds: Fds,
    pub console: Option<Receiver>,
    /// Behind `process.env`: NOTIFY_SOCKET.
    pub env: Vec<String>,
}

impl Process {
    /// `linux` is None only where there is no config.json at hand.
    pub(crate) fn plan(
        process: &oci::Process<'_>,
        linux: Option<&oci::Linux<'_>>,
        request: ProcessRequest,
    ) -> Result<Self> {
        let mut env = request.env;
        env.extend_from_slice(request.fds.env());
        Ok(Self {
            terminal: Terminal::plan(process, request.console)?,
            label: Label::plan(process)?,
            sched: Sched::plan(process, linux)?,
            personality: Personality::plan(linux)?,
            numa: Numa::plan(linux)?,
            caps: Caps::plan(process, request.has_user_namespace)?,
            user: User::plan(&process.user, request.has_user_namespace, request.keeps_groups)?,
            command: Command::plan(process, &env)?,
            fds: request.fds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Inside;
    use crate::testing::inside;

    const SCRIPT: &str = r#"
        [ "$(id -u):$(id -g):$(id -G)" = "4242:100:100 7" ] || exit 11
        [ "$(pwd)" = /tmp ] && [ "$(umask)" = 0022 ] || exit 12
        [ "$HOME" = / ] && [ "$A" = 2 ] && [ "$B" = 3 ] || exit 13
        grep -q 'CapBnd:.0000000000000400' /proc/self/status || exit 14
        grep -q 'CapEff:.0000000000000400' /proc/self/status || exit 15
        grep -q 'NoNewPrivs:.1' /proc/self/status || exit 16
        grep -q 'SigIgn:.............[02468ace]...' /proc/self/status || exit 17
        [ "$(echo /proc/self/fd/*)" = "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3" ] || exit 18
    "#;

    fn wanted() -> oci::Process<'static> {
        let bind = || vec!["CAP_NET_BIND_SERVICE".into()];
        oci::Process {
            args: ["sh", "-c", SCRIPT].map(Into::into).into(),
            env: ["PATH=/usr/bin:/bin", "A=1", "A=2", "HOME="].map(Into::into).into(),
            cwd: "/tmp".into(),
            user: oci::User { uid: 4242, gid: 100, additional_gids: vec![7], ..Default::default() },
            capabilities: Some(oci::Capabilities {
                bounding: bind(),
                effective: bind(),
                permitted: bind(),
                inheritable: bind(),
                ambient: bind(),
            }),
            no_new_privileges: true,
            ..Default::default()
        }
    }

    /// The order of runc's standard init, without what is not of this module.
    fn tail(process: &mut Process, me: &Inside) -> Result<std::convert::Infallible> {
        process.user.set_umask(me);
        process.caps.apply_no_new_privileges(me)?;
        process.sched.apply(me)?;
        let chdir = process.command.chdir(me)?;
        process.command.complete_env(me);
        process.caps.drop_bounding(me)?;
        process.user.own_stdio(me)?;
        process.user.apply(me)?;
        process.command.chdir_as_user(chdir, me)?;
        process.caps.apply(me)?;
        let program = process.command.find(me)?;
        crate::signals::default_sigpipe(me)?;
        process.fds.apply(me)?;
        process.command.execve(&program, me)
    }

    #[test]
    fn a_program_gets_all_of_it() {
        if !nix::unistd::Uid::effective().is_root() {
            println!("SKIP: needs root, to become another user");
            return;
        }
        inside(|me| {
            let none = crate::child::process::fds::Listen::default();
            let request = ProcessRequest {
                fds: Fds::claim(0, &none)?,
                env: vec!["B=3".to_owned()],
                ..Default::default()
            };
            // Own streams: the harness's must not change their owner.
            use std::os::fd::AsFd;
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
            (0..3).try_for_each(|stream| crate::sys::fd::dup_to(null.as_fd(), stream))?;
            nix::unistd::chdir("/")?;
            match tail(&mut Process::plan(&wanted(), None, request)?, me)? {}
        });
    }
}
