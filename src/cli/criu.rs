// SPDX-License-Identifier: Apache-2.0
//! The options of checkpoint and restore, most of them CRIU's.

use super::args::{Checkpoint, Create, Criu, ManageCgroups, NetworkLock, Restore};
use super::parse::Values;
use super::read::pid_file;
use crate::bail;
use crate::error::{Error, Result};

impl Checkpoint {
    pub(super) fn read(id: String, values: &Values) -> Result<Self> {
        let parent_path = values.path("parent-path");
        if parent_path.as_ref().is_some_and(|path| path.is_absolute()) {
            bail!("--parent-path must be relative");
        }
        Ok(Self {
            id,
            criu: Criu::read(values)?,
            parent_path,
            leave_running: values.bool("leave-running")?,
            tcp_skip_in_flight: values.bool("tcp-skip-in-flight")?,
            link_remap: values.bool("link-remap")?,
            status_fd: values.number("status-fd")?.filter(|fd| *fd >= 0),
            page_server: values.parsed("page-server", address_and_port)?,
            pre_dump: values.bool("pre-dump")?,
        })
    }
}

/// `ADDRESS:PORT`; an IPv6 address stands in brackets.
fn address_and_port(text: &str) -> Result<(String, u16)> {
    let pair = text.rsplit_once(':').and_then(|(address, port)| {
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = if address.contains(':') { bare? } else { bare.unwrap_or(address) };
        (!address.is_empty()).then_some((address.to_owned(), port.parse().ok()?))
    });
    pair.ok_or_else(|| Error::text("not ADDRESS:PORT"))
}

impl Restore {
    pub(super) fn read(id: String, values: &Values) -> Result<Self> {
        let create = Create {
            id,
            bundle: values.path("bundle"),
            config: None,
            console_socket: values.path("console-socket"),
            pidfd_socket: None,
            pid_file: pid_file(values)?,
            no_pivot: values.bool("no-pivot")?,
            no_new_keyring: false,
            preserve_fds: 0,
        };
        Ok(Self {
            create,
            criu: Criu::read(values)?,
            detach: values.bool("detach")?,
            no_subreaper: values.bool("no-subreaper")?,
            tcp_close: values.bool("tcp-close")?,
            lsm_profile: values.string("lsm-profile"),
            lsm_mount_context: values.string("lsm-mount-context"),
        })
    }
}

impl Criu {
    pub(super) fn read(values: &Values) -> Result<Self> {
        // `network` changes nothing: it is always left empty, as by runc.
        if let Some(other) = values.list("empty-ns").iter().find(|name| *name != "network") {
            bail!("namespace {other:?} is not supported");
        }
        Ok(Self {
            image_path: values.path("image-path"),
            work_path: values.path("work-path"),
            tcp_established: values.bool("tcp-established")?,
            ext_unix_sk: values.bool("ext-unix-sk")?,
            shell_job: values.bool("shell-job")?,
            file_locks: values.bool("file-locks")?,
            manage_cgroups: match values.string("manage-cgroups-mode").as_deref() {
                None | Some("soft") => ManageCgroups::Soft,
                Some("full") => ManageCgroups::Full,
                Some("strict") => ManageCgroups::Strict,
                Some("ignore") => ManageCgroups::Ignore,
                Some(_) => bail!("invalid manage-cgroups-mode value"),
            },
            auto_dedup: values.bool("auto-dedup")?,
            lazy_pages: values.bool("lazy-pages")?,
            network_lock: match values.string("network-lock").as_deref() {
                None => None,
                Some("iptables") => Some(NetworkLock::Iptables),
                Some("nftables") => Some(NetworkLock::Nftables),
                Some("skip") => Some(NetworkLock::Skip),
                Some(_) => bail!("invalid --network-lock: it is iptables, nftables or skip"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_may_be_ipv6() {
        let of = |text| address_and_port(text).ok();
        assert_eq!(of("[::1]:99"), Some(("::1".to_owned(), 99)));
        assert_eq!(of("host:99"), Some(("host".to_owned(), 99)));
        for bad in ["::1:99", ":99", "host:", "host:99999", "[::1]"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
