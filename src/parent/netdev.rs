// SPDX-License-Identifier: Apache-2.0
//! `linux.netDevices`: interfaces of ours that the container gets, renamed, with their global
//! addresses. When its network namespace ends, the kernel brings physical ones back.
//! Parent side, before the hooks; needs the container's network namespace.

use std::fs::File;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Pid, geteuid};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::oci;
use crate::sys::fd;
use crate::sys::netlink::{Answer, Request, Route, u32_at};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NetDevices(Vec<NetDevice>);

#[derive(Debug, PartialEq, Eq)]
struct NetDevice {
    name: String,
    new_name: String,
}

/// What is carried over of an address.
#[derive(Debug)]
struct Address {
    /// ifaddrmsg: family, prefix length, flags, scope; index.
    header: [u8; 4],
    attributes: Vec<(u16, Vec<u8>)>,
}

const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

impl NetDevices {
    pub(crate) fn plan(linux: &oci::Linux<'_>) -> Result<Self> {
        if linux.net_devices.is_empty() {
            return Ok(Self::default());
        }
        if !linux.namespaces.iter().any(|namespace| namespace.kind == "network") {
            bail!("linux.netDevices: unable to move network devices without a NET namespace");
        }
        if !geteuid().is_root() {
            bail!("linux.netDevices: network devices are not supported for rootless containers");
        }
        let mut devices = Vec::<NetDevice>::new();
        for (name, device) in &linux.net_devices {
            let new_name = if device.name.is_empty() { name } else { &device.name };
            for name in [name, new_name] {
                if !is_valid(name) {
                    bail!("linux.netDevices: invalid network device name {name:?}");
                }
            }
            if devices.iter().any(|other| other.new_name == **new_name) {
                bail!("linux.netDevices.{name}.name: {new_name:?} is there twice");
            }
            devices.push(NetDevice { name: name.to_string(), new_name: new_name.to_string() });
        }
        Ok(Self(devices))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For `check`: devices that are not there.
    pub(crate) fn foresee(&self) -> Vec<(&str, Error)> {
        let Ok(here) = Route::new() else { return Vec::new() };
        let look_up = |device: &NetDevice| {
            index_of(&here, &device.name)
                .context(|| "look it up")
                .context(|| format!("linux.netDevices.{}", device.name))
                .err()
        };
        let found = |device| look_up(device).map(|error| (device.name.as_str(), error));
        self.0.iter().filter_map(found).collect()
    }

    /// Moves all into the network namespace of `pid`.
    pub(crate) fn apply(&self, pid: Pid) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let context = || format!("linux.netDevices: network namespace of {pid}");
        let target = File::open(format!("/proc/{pid}/ns/net")).context(context)?;
        let here = Route::new().context(|| "linux.netDevices: netlink")?;
        let there = route_in(&target).context(context)?;
        for (done, device) in self.0.iter().enumerate() {
            let moved = device
                .relocate(&here, &there, &target)
                .context(|| format!("linux.netDevices.{}", device.name));
            if let Err(error) = moved {
                // With its namespace a device would be gone for good. One whose name is taken has not
                // been moved; what has that name is somebody else's.
                let end = if error.errno() == Some(Errno::EEXIST) { done } else { done + 1 };
                self.0[..end].iter().rev().for_each(|device| device.give_back(&there));
                return Err(error);
            }
        }
        Ok(())
    }
}

/// `lo` in the network namespace of `pid`.
pub(crate) fn loopback_up(pid: Pid) -> Result<()> {
    // The first interface of every network namespace.
    const LOOPBACK: u32 = 1;
    let context = || format!("bring lo up in the network namespace of {pid}");
    let target = File::open(format!("/proc/{pid}/ns/net")).context(context)?;
    let there = route_in(&target).context(context)?;
    let up = libc::IFF_UP.cast_unsigned();
    let link = Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(LOOPBACK, up, up));
    there.ask(link).map(drop).context(context)
}

impl NetDevice {
    /// The kernel takes the interface down and drops its addresses; they are read before.
    fn relocate(&self, here: &Route, there: &Route, target: &File) -> Result<()> {
        let index = index_of(here, &self.name).context(|| "look it up")?;
        let addresses = addresses_of(here, index).context(|| "read its addresses")?;
        // The kernel moves first and finds the name taken then.
        if index_of(there, &self.new_name).is_ok() {
            return Err(Errno::EEXIST).context(|| format!("move it, as {}", self.new_name));
        }
        let number = fd::number(std::os::fd::AsFd::as_fd(target));
        let link = Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, 0))
            .attribute(libc::IFLA_IFNAME, &terminated(&self.new_name))
            .attribute(libc::IFLA_NET_NS_FD, &number.to_ne_bytes());
        here.ask(link).context(|| format!("move it, as {}", self.new_name))?;

        let index = index_of(there, &self.new_name).context(|| "look it up in the container")?;
        for address in &addresses {
            there.ask(address.request(index)).context(|| "add its addresses in the container")?;
        }
        let up = libc::IFF_UP.cast_unsigned();
        let link = Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, up, up));
        there.ask(link).context(|| "bring it up in the container")?;
        Ok(())
    }

    /// Back to this process's network namespace, under its old name. One that was not moved is not
    /// found; what else fails is of no help to the error that is reported.
    fn give_back(&self, there: &Route) {
        let Ok(home) = File::open("/proc/self/ns/net") else { return };
        let Ok(index) = index_of(there, &self.new_name) else { return };
        let number = fd::number(std::os::fd::AsFd::as_fd(&home));
        let link = Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfomsg(index, 0, 0))
            .attribute(libc::IFLA_IFNAME, &terminated(&self.name))
            .attribute(libc::IFLA_NET_NS_FD, &number.to_ne_bytes());
        let _ = there.ask(link);
    }
}

impl Address {
    /// Those that the administrator gave for everywhere: what was learned or is local to this
    /// network would mean nothing in another.
    fn from(answer: &Answer, index: u32) -> Result<Option<Self>, Errno> {
        let header = answer.body(IFADDRMSG)?;
        let [family, prefix, flags, scope] = header[..4] else { return Err(Errno::EBADMSG) };
        let is_permanent = u32::from(flags) & libc::IFA_F_PERMANENT != 0;
        let is_global = scope == libc::RT_SCOPE_UNIVERSE;
        if u32_at(header, 4) != Some(index) || !is_permanent || !is_global {
            return Ok(None);
        }
        let kept = [libc::IFA_ADDRESS, libc::IFA_LOCAL, libc::IFA_BROADCAST];
        let attributes = answer.attributes(IFADDRMSG).filter(|(kind, _)| kept.contains(kind));
        let attributes = attributes.map(|(kind, value)| (kind, value.to_vec())).collect();
        Ok(Some(Self { header: [family, prefix, 0, scope], attributes }))
    }

    fn request(&self, index: u32) -> Request {
        let mut body = self.header.to_vec();
        body.extend_from_slice(&index.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = Request::new(libc::RTM_NEWADDR, flags, &body);
        let add =
            |request: Request, (kind, value): &(u16, Vec<u8>)| request.attribute(*kind, value);
        self.attributes.iter().fold(request, add)
    }
}

fn index_of(route: &Route, name: &str) -> Result<u32, Errno> {
    let request = Request::new(libc::RTM_GETLINK, 0, &ifinfomsg(0, 0, 0))
        .attribute(libc::IFLA_IFNAME, &terminated(name));
    let answers = route.ask(request)?;
    let link = answers.first().ok_or(Errno::ENODEV)?;
    u32_at(link.body(IFINFOMSG)?, 4).ok_or(Errno::EBADMSG)
}

fn addresses_of(route: &Route, index: u32) -> Result<Vec<Address>, Errno> {
    let flags = libc::NLM_F_ROOT | libc::NLM_F_MATCH;
    let answers = route.ask(Request::new(libc::RTM_GETADDR, flags, &[0; IFADDRMSG]))?;
    let addresses = answers.iter().map(|answer| Address::from(answer, index));
    addresses.filter_map(Result::transpose).collect()
}

/// struct ifinfomsg: family, pad, type, index, flags, which flags to change.
fn ifinfomsg(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let mut body = [0; IFINFOMSG];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// A socket belongs to the namespace it was made in: in, make it, and out again.
fn route_in(target: &File) -> Result<Route> {
    let home = File::open("/proc/self/ns/net").context(|| "/proc/self/ns/net")?;
    setns(target, CloneFlags::CLONE_NEWNET).context(|| "enter")?;
    let route = Route::new().context(|| "netlink");
    setns(&home, CloneFlags::CLONE_NEWNET).context(|| "leave")?;
    route
}

/// As the kernel's dev_valid_name: short, no `.` or `..`, no slash, colon or white space.
fn is_valid(name: &str) -> bool {
    !name.is_empty()
        && name.len() < libc::IFNAMSIZ
        && name != "."
        && name != ".."
        && !name.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use nix::sched::unshare;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::waitpid;

    use super::*;
    use crate::sys::clone::{CloneRequest, Fork, clone3};
    use crate::testing::inside;

    fn plan(devices: &[(&'static str, &'static str)], kind: &'static str) -> Result<NetDevices> {
        let device = |&(name, new): &(&'static str, &'static str)| {
            (name.into(), oci::NetDevice { name: new.into() })
        };
        let namespaces = vec![oci::Namespace { kind: kind.into(), ..Default::default() }];
        let net_devices = devices.iter().map(device).collect();
        NetDevices::plan(&oci::Linux { namespaces, net_devices, ..Default::default() })
    }

    #[test]
    fn refusals_name_the_property() {
        if !geteuid().is_root() {
            println!("SKIP: needs root, or the refusal is about that");
            return;
        }
        let refusal = |devices: &[_], kind| plan(devices, kind).unwrap_err().to_string();
        assert_eq!(
            refusal(&[("eth0", "")], "uts"),
            "linux.netDevices: unable to move network devices without a NET namespace"
        );
        for name in ["", ".", "..", "a/b", "a:b", "a b", "sixteen_is_toomany"] {
            let text = format!("linux.netDevices: invalid network device name {name:?}");
            assert_eq!(refusal(&[(name, "")], "network"), text);
        }
        let text = "linux.netDevices.b.name: \"x\" is there twice";
        assert_eq!(refusal(&[("a", "x"), ("b", "x")], "network"), text);
    }

    /// In a network namespace of our own with a pair of interfaces, which `ip` makes.
    fn with_devices(body: impl FnOnce() -> Result<()>) {
        if !geteuid().is_root() {
            println!("SKIP: needs root, to move network devices");
            return;
        }
        inside(|_| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let commands = [
                "link add d0 type veth peer d1",
                "link set d0 mtu 1789",
                "address add 169.254.169.77/32 dev d0",
                "address add 127.0.0.33/8 dev d0 scope host",
                "address add fd00::5/64 dev d0",
                "link set d0 up",
                "link set d1 up",
            ];
            for command in commands {
                match std::process::Command::new("ip").args(command.split(' ')).status() {
                    Ok(status) if status.success() => {}
                    other => {
                        println!("SKIP: ip {command}: {other:?}");
                        return Ok(());
                    }
                }
            }
            body()
        });
    }

    /// `ip address` in the child's namespace, after `devices` were moved there.
    fn move_to_child(devices: &NetDevices) -> Result<(Result<()>, String)> {
        let request = CloneRequest { flags: CloneFlags::CLONE_NEWNET.into(), cgroup: None };
        match clone3(&request)? {
            Fork::Child(_) => {
                nix::unistd::pause();
                crate::sys::exit(0)
            }
            Fork::Parent { child, .. } => {
                let outcome = devices.apply(child);
                let net = format!("--net=/proc/{child}/ns/net");
                let output =
                    std::process::Command::new("nsenter").args([&net, "ip", "address"]).output();
                kill(child, Signal::SIGKILL)?;
                waitpid(child, None)?;
                Ok((outcome, String::from_utf8_lossy(&output?.stdout).into_owned()))
            }
        }
    }

    #[test]
    fn a_device_is_moved_renamed_and_keeps_its_global_addresses() {
        with_devices(|| {
            let (outcome, text) = move_to_child(&plan(&[("d0", "eth9")], "network")?)?;
            outcome?;
            for part in ["eth9", "mtu 1789", "169.254.169.77/32", "fd00::5/64", ",UP"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("127.0.0.33"), "{text}");
            Ok(())
        });
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        with_devices(|| {
            let (outcome, _) = move_to_child(&plan(&[("nope0", "")], "network")?)?;
            let text = "linux.netDevices.nope0: look it up: ENODEV: no such device";
            assert_eq!(outcome.unwrap_err().to_string(), text);
            Ok(())
        });
    }
}
