// SPDX-License-Identifier: Apache-2.0
//! `mounts[]` of a filesystem type: by mount(2), which is the shortest way; or made detached by fsopen
//! and fsmount, then attached, where something is to be done with the mount itself.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::fchdir;

use super::copyup::copy_up;
use super::foresee::{Foreseen, Sight};
use super::idmap::Mapped;
use super::mount::Label;
use super::options::{MS_RDONLY, Options, attributes, superblock_flags};
use super::root::{Links, Missing, Place, is_kind};
use super::tree::Tree;
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::sys::Inside;
use crate::sys::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
use crate::sys::xattr::fsetxattr;

/// The longest value that fsconfig takes.
const VALUE_MAX: usize = 255;

/// A new filesystem, ready to be asked for.
#[derive(Debug)]
pub(super) struct NewFs {
    kind: CString,
    direct: Direct,
    /// None: what fsconfig cannot say (long or escaped values, iversion).
    detached: Option<Detached>,
    /// procfs and sysfs: through no link, on a directory (CVE-2019-19921, CVE-2023-27561).
    pub ordinary_directory: bool,
    /// tmpfs takes on the mode of the directory that it covers.
    inherit_mode: bool,
    copy_up: bool,
    /// mqueue has no option for a label: its root directory gets one.
    root_label: Option<CString>,
    /// tmpfs and /dev are filled first (as runc does).
    readonly_later: bool,
    /// Nobody but this container's set-up can put anything in before the program starts, and
    /// something of it will be.
    fresh: bool,
}

/// mount(2): one call, where nothing has to be done with the mount afterwards.
#[derive(Debug)]
struct Direct {
    source: Option<CString>,
    flags: MsFlags,
    data: CString,
}

/// fsopen and what follows: parameters in order, then MOUNT_ATTR_* bits.
#[derive(Debug)]
struct Detached {
    params: Vec<(CString, Option<CString>)>,
    attr: u64,
}

/// What is done with a new mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub idmap: Option<&'a Mapped>,
    /// Its descriptor.
    pub fd: bool,
}

impl NewFs {
    pub(super) fn plan(
        kind: &str,
        source: &str,
        options: &Options,
        destination: &str,
        label: Option<Label<'_>>,
        idmapped: bool,
    ) -> Result<Self> {
        let is_tmpfs = kind == "tmpfs";
        if options.copy_up && !is_tmpfs {
            bail!(".options: tmpcopyup needs type tmpfs");
        }
        let readonly_later = options.flags & MS_RDONLY != 0 && (is_tmpfs || destination == "dev");
        let flags = if readonly_later { options.flags & !MS_RDONLY } else { options.flags };
        let data = join_data(options, label.filter(|_| takes_label(kind)));
        let needs_direct = options.flags & libc::MS_I_VERSION != 0 || !is_simple(&data);
        if idmapped && needs_direct {
            bail!(
                ".options: id maps with iversion, or values with quotes or over {VALUE_MAX} bytes"
            );
        }
        let detached = match needs_direct {
            true => None,
            false => {
                Some(Detached { params: params(source, flags, &data)?, attr: attributes(flags) })
            }
        };
        Ok(Self {
            kind: cstring(kind)?,
            direct: Direct {
                source: Some(source).filter(|s| !s.is_empty()).map(cstring).transpose()?,
                flags: MsFlags::from_bits_retain(flags),
                data: cstring(&data)?,
            },
            detached,
            ordinary_directory: matches!(kind, "proc" | "sysfs"),
            inherit_mode: is_tmpfs && !options.data.iter().any(|o| o.starts_with("mode=")),
            copy_up: options.copy_up,
            root_label: label
                .filter(|_| kind == "mqueue")
                .map(|label| cstring(label.text))
                .transpose()?,
            readonly_later,
            fresh: is_tmpfs && !options.copy_up,
        })
    }

    /// Nothing will be put into it.
    pub(super) fn stays_empty(&mut self) {
        self.fresh = false;
    }

    /// Makes and attaches it.
    pub(super) fn apply(
        &self,
        to: &str,
        links: Links,
        wanted: Wanted<'_>,
        tree: &mut Tree,
        me: &Inside,
    ) -> Result<Made> {
        let place = self.place(to, links, tree)?;
        super::mount::check_place(&place, self.kind.to_str().unwrap_or_default(), || false)?;
        let needs_fd = wanted.fd || self.fresh || self.readonly_later || self.root_label.is_some();
        let fd = match &self.detached {
            Some(detached) if needs_fd || wanted.idmap.is_some() || self.copy_up => {
                self.make_detached(detached, &place, wanted.idmap, tree, me)?
            }
            // Should it fail, the longer way may do, or can say why not.
            Some(detached) => match self.mount(&place) {
                Ok(()) => {
                    tree.covered(&place.path);
                    return Ok(Made { fd: None, place, fresh: false });
                }
                Err(_) => self.make_detached(detached, &place, None, tree, me)?,
            },
            None => {
                self.mount(&place)?;
                tree.covered(&place.path);
                self.reopen(tree, &place)?
            }
        };
        if let Some(label) = &self.root_label {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let dir = openat(&fd, ".", flags, Mode::empty())?;
            fsetxattr(dir.as_fd(), c"security.selinux", label).context(|| "label")?;
        }
        if self.readonly_later {
            let kept = fd.try_clone()?;
            tree.late_readonly.push(kept);
        }
        Ok(Made { fd: Some(fd), place, fresh: self.fresh })
    }

    /// For `check`: the mount point, and what the kernel says to the type and its parameters; nothing is
    /// made of them.
    pub(super) fn foresee(&self, to: Option<&str>, sight: &Sight) -> Result<(), Foreseen> {
        if let Some(to) = to {
            self.foresee_place(to, sight).map_err(|error| ("destination", error))?;
        }
        let Some(detached) = &self.detached else { return Ok(()) };
        let fs = match fsopen(&self.kind) {
            Err(errno @ Errno::ENODEV) => return Err(("type", errno.into())),
            // Without privileges there is no asking.
            Err(_) => return Ok(()),
            Ok(fs) => fs,
        };
        set_params(&fs, &detached.params).map_err(|errno| {
            let source = detached.params.last().is_some_and(|(key, _)| key.as_c_str() == c"source");
            let property = if source && detached.params.len() == 1 { "source" } else { "options" };
            (property, said_with(&fs, errno))
        })
    }

    fn foresee_place(&self, to: &str, sight: &Sight) -> Result<()> {
        let place = match sight.mount_point(to) {
            Err(Errno::ELOOP | Errno::ENOTDIR) if self.ordinary_directory => {
                return self.not_ordinary();
            }
            other => other.context(|| "mount point")?,
        };
        let Some(place) = place else { return Ok(()) };
        super::mount::check_place(&place, self.kind.to_str().unwrap_or_default(), || false)?;
        let is_dir = fstat(&place.fd).is_ok_and(|stat| is_kind(&stat, SFlag::S_IFDIR));
        match (is_dir, self.ordinary_directory) {
            (_, true) if !is_dir || place.path != to => self.not_ordinary(),
            (false, _) => Err(Errno::ENOTDIR.into()),
            (true, _) => Ok(()),
        }
    }

    fn make_detached(
        &self,
        detached: &Detached,
        place: &Place,
        idmap: Option<&Mapped>,
        tree: &mut Tree,
        me: &Inside,
    ) -> Result<OwnedFd> {
        let fd = self.make(&detached.params, detached.attr, place)?;
        if self.copy_up {
            copy_up(place.fd.as_fd(), fd.as_fd(), me).context(|| "tmpcopyup")?;
        }
        if let Some(idmap) = idmap {
            idmap.set(fd.as_fd())?;
        }
        self.attach(tree, &fd, place)?;
        Ok(fd)
    }

    /// mount(2) on the place as the working directory: by descriptor, and without any /proc.
    fn mount(&self, place: &Place) -> Result<()> {
        fchdir(&place.fd)?;
        let data = self.data_with_mode(place)?;
        let data = Some(&*data).filter(|data| !data.is_empty());
        let Direct { source, flags, .. } = &self.direct;
        let kind = Some(self.kind.as_c_str());
        Ok(mount(source.as_deref(), ".", kind, *flags, data)?)
    }

    fn place(&self, to: &str, links: Links, tree: &Tree) -> Result<Place> {
        let links = if self.ordinary_directory { Links::Refuse } else { links };
        match tree.place(to, links, || Missing::MakeDir) {
            Err(Errno::ELOOP | Errno::ENOTDIR) if self.ordinary_directory => self.not_ordinary(),
            other => other.context(|| "mount point"),
        }
    }

    fn attach(&self, tree: &mut Tree, fd: &OwnedFd, place: &Place) -> Result<()> {
        match tree.attach(fd, place) {
            Err(Errno::ENOTDIR) if self.ordinary_directory => self.not_ordinary(),
            other => Ok(other?),
        }
    }

    fn not_ordinary<T>(&self) -> Result<T> {
        bail!("{:?} must be mounted on ordinary directory", self.kind)
    }

    fn make(
        &self,
        params: &[(CString, Option<CString>)],
        attr: u64,
        place: &Place,
    ) -> Result<OwnedFd> {
        let fs = fsopen(&self.kind)?;
        let configured = self.configure(&fs, params, place);
        let made = configured.and_then(|()| fsconfig_create(fs.as_fd()));
        if let Err(errno) = made {
            return Err(said_with(&fs, errno));
        }
        Ok(fsmount(fs.as_fd(), attr)?)
    }

    fn configure(
        &self,
        fs: &OwnedFd,
        params: &[(CString, Option<CString>)],
        place: &Place,
    ) -> Result<(), Errno> {
        if let Some(mode) = self.inherited_mode(place)? {
            fsconfig_set_string(fs.as_fd(), c"mode", &crate::sys::cstring(mode)?)?;
        }
        set_params(fs, params)
    }

    fn inherited_mode(&self, place: &Place) -> Result<Option<String>, Errno> {
        if !self.inherit_mode || !place.existed {
            return Ok(None);
        }
        Ok(Some(format!("{:04o}", fstat(&place.fd)?.st_mode & 0o7777)))
    }

    fn data_with_mode(&self, place: &Place) -> Result<Cow<'_, CStr>> {
        let Some(mode) = self.inherited_mode(place)? else {
            return Ok(Cow::Borrowed(&self.direct.data));
        };
        let data = self.direct.data.to_str().unwrap_or_default();
        Ok(Cow::Owned(cstring(&format!("mode={mode},{data}"))?))
    }

    /// The mount that mount(2) has put on the place: on another filesystem than what was there.
    fn reopen(&self, tree: &Tree, place: &Place) -> Result<OwnedFd> {
        let fd = tree.root.open_exact(&place.path)?;
        if fstat(&place.fd)?.st_dev == fstat(&fd)?.st_dev {
            bail!("the destination was moved away");
        }
        Ok(fd)
    }
}

/// An attached new filesystem.
pub(super) struct Made {
    /// If it was wanted.
    pub fd: Option<OwnedFd>,
    pub place: Place,
    pub fresh: bool,
}

fn set_params(fs: &OwnedFd, params: &[(CString, Option<CString>)]) -> Result<(), Errno> {
    params.iter().try_for_each(|(key, value)| match value {
        Some(value) => fsconfig_set_string(fs.as_fd(), key, value),
        None => fsconfig_set_flag(fs.as_fd(), key),
    })
}

fn said_with(fs: &OwnedFd, errno: Errno) -> Error {
    let error = Error::from(errno);
    match said_by_kernel(fs) {
        Some(message) => error.within(message),
        None => error,
    }
}

/// What the kernel has to say about the context, such as an unknown parameter.
fn said_by_kernel(fs: &OwnedFd) -> Option<String> {
    let mut buffer = [0; 512];
    let read = nix::unistd::read(fs, &mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..read]);
    let text = text.trim_end();
    // "e " for errors, "w " and "i " else.
    Some(text.split_once(' ').map_or(text, |(_, message)| message).to_owned())
}

/// The options for the filesystem as one text.
fn join_data(options: &Options, label: Option<Label<'_>>) -> String {
    let mut data = options.data.join(",");
    if let Some(Label { text, option }) = label {
        if !data.is_empty() {
            data.push(',');
        }
        data.push_str(option);
        data.push('=');
        // mount(2) needs quotes around a label with commas; fsconfig takes none.
        data.push_str(&if text.contains(',') { format!("{text:?}") } else { text.to_owned() });
    }
    data
}

/// proc and sysfs have labels of their own; mqueue is labelled by its root's attribute.
fn takes_label(kind: &str) -> bool {
    !matches!(kind, "proc" | "sysfs" | "mqueue")
}

/// Whether splitting at commas gives what fsconfig takes.
fn is_simple(data: &str) -> bool {
    !data.contains(['\\', '"'])
        && data
            .split(',')
            .all(|option| option.split_once('=').is_none_or(|(_, value)| value.len() <= VALUE_MAX))
}

fn params(source: &str, flags: u64, data: &str) -> Result<Vec<(CString, Option<CString>)>> {
    let mut params = Vec::new();
    if !source.is_empty() && source.len() <= VALUE_MAX {
        params.push((c"source".to_owned(), Some(cstring(source)?)));
    }
    for flag in superblock_flags(flags) {
        params.push((cstring(flag)?, None));
    }
    for option in data.split(',').filter(|option| !option.is_empty()) {
        params.push(match option.split_once('=') {
            Some((key, value)) => (cstring(key)?, Some(cstring(value)?)),
            None => (cstring(option)?, None),
        });
    }
    Ok(params)
}

fn cstring(text: &str) -> Result<CString> {
    crate::sys::cstring(text).context(|| format!("a null byte in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_given_by_the_option_that_the_annotation_names() {
        let options = Options::plan(&["size=1m".into()]).unwrap();
        let data = |text, option| {
            join_data(&options, Some(Label::plan(text, option).expect("a known option")))
        };
        assert_eq!(data("u:r:t:s0", None), "size=1m,context=u:r:t:s0");
        assert_eq!(
            data("u:r:t:s0:c1,c2", Some("rootcontext")),
            "size=1m,rootcontext=\"u:r:t:s0:c1,c2\""
        );
        let refusal = Label::plan("x", Some("context=")).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "annotations[run.oci.mount_context_type]: \"context=\" is not context, fscontext, defcontext or rootcontext"
        );
    }
}
