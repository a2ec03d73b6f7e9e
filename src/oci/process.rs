// SPDX-License-Identifier: Apache-2.0
//! `process`, of config.json and of `exec --process`.

use serde::Deserialize;

use super::{Str, nullable};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Process<'a> {
    #[serde(deserialize_with = "nullable")]
    pub terminal: bool,
    pub console_size: Option<ConsoleSize>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub user: User<'a>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub args: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub env: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub cwd: Str<'a>,
    #[serde(borrow)]
    pub capabilities: Option<Capabilities<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub rlimits: Vec<Rlimit<'a>>,
    #[serde(deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    #[serde(borrow, deserialize_with = "nullable")]
    pub apparmor_profile: Str<'a>,
    pub oom_score_adj: Option<i32>,
    #[serde(borrow)]
    pub scheduler: Option<Scheduler<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub selinux_label: Str<'a>,
    #[serde(borrow)]
    pub io_priority: Option<IoPriority<'a>>,
    #[serde(borrow, rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity<'a>>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConsoleSize {
    pub height: u64,
    pub width: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct User<'a> {
    #[serde(deserialize_with = "nullable")]
    pub uid: u32,
    #[serde(deserialize_with = "nullable")]
    pub gid: u32,
    pub umask: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub additional_gids: Vec<u32>,
    /// Windows only; read so that it can be refused by name.
    #[serde(borrow, deserialize_with = "nullable")]
    pub username: Str<'a>,
}

/// Five sets of names; an absent set is empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Capabilities<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub bounding: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub effective: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub inheritable: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub permitted: Vec<Str<'a>>,
    #[serde(borrow, deserialize_with = "nullable")]
    pub ambient: Vec<Str<'a>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Rlimit<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Str<'a>,
    pub hard: u64,
    pub soft: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Scheduler<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub policy: Str<'a>,
    #[serde(deserialize_with = "nullable")]
    pub nice: i32,
    #[serde(deserialize_with = "nullable")]
    pub priority: i32,
    #[serde(borrow, deserialize_with = "nullable")]
    pub flags: Vec<Str<'a>>,
    /// Nanoseconds, as the two below; SCHED_DEADLINE only.
    #[serde(deserialize_with = "nullable")]
    pub runtime: u64,
    #[serde(deserialize_with = "nullable")]
    pub deadline: u64,
    #[serde(deserialize_with = "nullable")]
    pub period: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IoPriority<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub class: Str<'a>,
    #[serde(deserialize_with = "nullable")]
    pub priority: i32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExecCpuAffinity<'a> {
    #[serde(borrow, deserialize_with = "nullable")]
    pub initial: Str<'a>,
    #[serde(borrow, rename = "final", deserialize_with = "nullable")]
    pub last: Str<'a>,
}
