//! Who may look and who may change things. The daemon decides by itself, on a bus and on its socket alike, whatever the
//! bus's policy or the socket's mode let through.

use zbus::fdo::ConnectionCredentials;

use super::{
    error::{Error, Kind},
    schema::Right,
};
use crate::config::{ControlConfig, Readers};

/// The rule of the configuration, group names looked up.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Who the daemon runs as: it may do to itself what root may.
    own: u32,
    group: Option<u32>,
    readers: Who,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Group(u32),
    Everybody,
}

impl Access {
    /// Looks the groups up.
    ///
    /// # Errors
    /// When there is no group of a configured name.
    pub(crate) fn new(config: &ControlConfig) -> anyhow::Result<Self> {
        let readers = match &config.readers {
            Readers::Nobody => Who::Nobody,
            Readers::Everybody => Who::Everybody,
            Readers::Group(name) => Who::Group(gid(name)?),
        };
        let group = config.group.as_deref().map(gid).transpose()?;
        Ok(Self { own: rustix::process::geteuid().as_raw(), group, readers })
    }

    /// The mode of the socket. Who connects without a right is turned away all the same.
    pub(crate) const fn socket_mode(&self) -> u32 {
        match (self.group, self.readers) {
            (None, Who::Nobody) => 0o600,
            _ => 0o666,
        }
    }

    /// What a user who is in `groups` may do.
    pub(crate) fn right(&self, user: u32, groups: &[u32]) -> Option<Right> {
        if user == 0 || user == self.own || self.group.is_some_and(|group| groups.contains(&group)) {
            return Some(Right::Change);
        }
        let reads = match self.readers {
            Who::Nobody => false,
            Who::Group(group) => groups.contains(&group),
            Who::Everybody => true,
        };
        reads.then_some(Right::Read)
    }

    /// What the owner of a connection may do; nothing if it is not known who that is.
    pub(crate) fn right_of(&self, credentials: &ConnectionCredentials) -> Option<Right> {
        let groups = credentials.unix_group_ids().map_or(&[][..], Vec::as_slice);
        self.right(credentials.unix_user_id()?, groups)
    }
}

/// Whether one who has the right `has` may do what needs `needs`.
pub(crate) fn check(has: Option<Right>, needs: Right) -> Result<(), Error> {
    let text = match (has, needs) {
        (Some(has), needs) if has >= needs => return Ok(()),
        (Some(_), _) => "you may look, and only root and the group of `[control] group` may change things",
        (None, _) => "only root and those of `[control] group` and `readers` may talk to this daemon",
    };
    Err(Error::new(Kind::Denied, text))
}

fn gid(name: &str) -> anyhow::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let group = uzers::get_group_by_name(name);
    group.map(|group| group.gid()).ok_or_else(|| {
        anyhow::anyhow!(
            "there is no group `{name}`, which [control] names: `groupadd --system {name}` makes it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(group: Option<&str>, readers: Readers) -> Access {
        let config = ControlConfig { group: group.map(str::to_owned), readers, ..ControlConfig::default() };
        Access { own: 0, ..Access::new(&config).unwrap() }
    }

    #[test]
    fn each_may_do_what_the_rule_says() {
        use Right::{Change, Read};
        let closed = access(None, Readers::Nobody);
        let group = access(Some("4242"), Readers::Nobody);
        let both = access(Some("4242"), Readers::Group("4243".into()));
        let open = access(Some("4242"), Readers::Everybody);
        for (user, groups, wanted) in [
            (0, &[][..], [Some(Change); 4]),
            (1000, &[], [None, None, None, Some(Read)]),
            (1000, &[4242], [None, Some(Change), Some(Change), Some(Change)]),
            (1000, &[4243], [None, None, Some(Read), Some(Read)]),
            (1000, &[0], [None, None, None, Some(Read)]),
        ] {
            let rights = [&closed, &group, &both, &open].map(|access| access.right(user, groups));
            assert_eq!(rights, wanted, "{user} of {groups:?}");
        }
        assert_eq!([&closed, &group, &both, &open].map(Access::socket_mode), [0o600, 0o666, 0o666, 0o666]);
        assert_eq!(closed.right_of(&ConnectionCredentials::default()), None);
        assert!(
            check(Some(Change), Read).is_ok()
                && check(Some(Read), Change).is_err()
                && check(None, Read).is_err()
        );
        let missing = ControlConfig { group: Some("no such group".into()), ..ControlConfig::default() };
        assert!(Access::new(&missing).unwrap_err().to_string().contains("groupadd"));
    }
}
