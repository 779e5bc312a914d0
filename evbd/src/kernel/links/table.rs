//! What is known of the wanted interfaces and their masters, fed with the kernel's messages.

use std::collections::{HashMap, HashSet, VecDeque};

use ether::MacAddr;
use rtnetlink::packet_route::{
    AddressFamily,
    link::{
        BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
};

use wildmatch::WildMatch;

use super::{Master, MasterKind, Seen};
use crate::input::Link;

/// Wanted interfaces, by name.
pub(super) struct Table {
    wanted: HashMap<String, Option<Known>>,
    /// Wanted interfaces that are there, by number.
    names: HashMap<u32, String>,
    /// Masters of wanted interfaces, by number.
    masters: HashMap<u32, (String, MasterKind)>,
    ready: VecDeque<(String, Seen)>,
    questions: VecDeque<Question>,
    /// Interfaces whose names match are told of too.
    patterns: Vec<WildMatch>,
    /// Names that are wanted for that alone.
    matched: HashSet<String>,
}

/// What the kernel is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What a wanted interface is.
    Name(String),
    /// What a master is.
    Index(u32),
    /// What links there are.
    All,
}

/// A wanted interface that is there.
struct Known {
    index: u32,
    link: Link,
    enabled: bool,
    master: Option<u32>,
    port_mask: u16,
}

impl Table {
    /// A table that knows nothing yet and has a question about each of `names`.
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let wanted = names.into_iter().map(|name| (name, None)).collect();
        let mut table = Self {
            wanted,
            names: HashMap::new(),
            masters: HashMap::new(),
            ready: VecDeque::new(),
            questions: VecDeque::new(),
            patterns: Vec::new(),
            matched: HashSet::new(),
        };
        table.doubt();
        table
    }

    /// Wants every interface whose name matches one of `patterns`.
    pub(super) fn want_matching(&mut self, patterns: Vec<WildMatch>) {
        self.patterns = patterns;
        if !self.patterns.is_empty() {
            self.wonder(Question::All);
        }
    }

    /// Wants `name` from now on, which is a question then, or wants it no more.
    pub(super) fn want(&mut self, name: &str, wanted: bool) {
        if wanted {
            self.matched.remove(name);
            self.wanted.entry(name.to_owned()).or_default();
            self.wonder(Question::Name(name.to_owned()));
        } else if self.matches(name) && self.wanted.get(name).is_some_and(Option::is_some) {
            self.matched.insert(name.to_owned());
        } else if let Some(known) = self.wanted.remove(name) {
            self.names.retain(|index, _| known.as_ref().is_none_or(|known| known.index != *index));
            self.forget_masters();
        }
    }

    /// Whether a link of this name is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wanted.contains_key(name) || self.matches(name)
    }

    fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether the link of this number is wanted, or the master of one that is.
    pub(super) fn knows(&self, index: u32) -> bool {
        self.names.contains_key(&index) || self.masters.contains_key(&index)
    }

    /// The next state to tell.
    pub(super) fn take(&mut self) -> Option<(String, Seen)> {
        self.ready.pop_front()
    }

    /// The oldest open question; it stays open until its [`Table::answer`].
    pub(super) fn question(&self) -> Option<Question> {
        self.questions.front().cloned()
    }

    /// Changes were lost: everything is a question again.
    pub(super) fn doubt(&mut self) {
        self.masters.clear();
        self.questions = self.wanted.keys().cloned().map(Question::Name).collect();
        if !self.patterns.is_empty() {
            self.wonder(Question::All);
        }
    }

    /// The state of one wanted interface is a question again.
    pub(super) fn reread(&mut self, name: &str) {
        if self.wanted.contains_key(name) {
            self.wonder(Question::Name(name.to_owned()));
        }
    }

    /// What the kernel says to a question: nothing when there is no such link, and of all links, those there are.
    pub(super) fn answer(&mut self, question: &Question, links: &[LinkMessage]) {
        let link = links.first();
        if self.questions.front() == Some(question) {
            self.questions.pop_front();
        }
        match (question, link) {
            (Question::All, _) => {
                for link in links {
                    if name(link).is_some_and(|name| self.matches(name)) {
                        self.seen(link);
                    }
                }
            }
            // The kernel finds a link by its alternative names too, but those are not ours.
            (Question::Name(name), Some(link)) if self::name(link) == Some(name) => self.seen(link),
            (Question::Name(name), _) => self.absent(name),
            (Question::Index(index), Some(link)) => self.master(*index, link),
            (Question::Index(index), None) => {
                // It is just going; the change that tells of it is on its way.
                self.masters.insert(*index, (format!("link {index}"), MasterKind::Other("gone".into())));
                self.tell_ports(*index);
            }
        }
    }

    /// A link is there, new or changed.
    pub(super) fn seen(&mut self, message: &LinkMessage) {
        let index = message.header.index;
        if message.header.interface_family != AddressFamily::Unspec {
            // A bridge tells of its ports in a way of its own, and some changes in no other.
            if let Some(name) = self.names.get(&index).cloned() {
                self.wonder(Question::Name(name));
            }
            return;
        }
        if self.masters.contains_key(&index) {
            self.master(index, message);
        }
        let Some(name) = name(message) else { return };
        if let Some(old) = self.names.get(&index).filter(|old| *old != name).cloned() {
            self.absent(&old);
        }
        if !self.wanted.contains_key(name) && self.matches(name) {
            self.matched.insert(name.to_owned());
            self.wanted.insert(name.to_owned(), None);
        }
        let Some(known) = self.wanted.get_mut(name) else { return };
        if let Some(before) = known.as_ref().filter(|known| known.index != index) {
            self.names.remove(&before.index);
        }
        let master = master_index(message);
        let enabled = message.header.flags.contains(LinkFlags::Up);
        *known = Some(Known { index, link: link(message), enabled, master, port_mask: port_mask(message) });
        self.names.insert(index, name.to_owned());
        self.forget_masters();
        match master.filter(|master| !self.masters.contains_key(master)) {
            Some(master) => self.wonder(Question::Index(master)),
            None => self.tell(name),
        }
    }

    /// A link is gone.
    pub(super) fn deleted(&mut self, message: &LinkMessage) {
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = message.header.index;
        if let Some(name) = self.names.get(&index).cloned() {
            self.absent(&name);
        }
        if self.masters.remove(&index).is_some() {
            for name in self.ports(index) {
                self.wonder(Question::Name(name));
            }
        }
    }

    fn absent(&mut self, name: &str) {
        if let Some(known) = self.wanted.get_mut(name).and_then(Option::take) {
            self.names.remove(&known.index);
        }
        if self.matched.remove(name) {
            self.wanted.remove(name);
        }
        self.forget_masters();
        self.ready.push_back((name.to_owned(), Seen { link: Link::Absent, enabled: false, master: None }));
    }

    fn master(&mut self, index: u32, message: &LinkMessage) {
        let Some(name) = name(message) else { return };
        let now = (name.to_owned(), kind(message));
        if self.masters.insert(index, now.clone()) != Some(now) {
            self.tell_ports(index);
        }
    }

    fn tell_ports(&mut self, master: u32) {
        for name in self.ports(master) {
            self.tell(&name);
        }
    }

    /// The wanted interfaces that are ports of a master.
    fn ports(&self, master: u32) -> Vec<String> {
        let is_port = |known: &Known| known.master == Some(master);
        self.wanted
            .iter()
            .filter(|(_, known)| known.as_ref().is_some_and(is_port))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn tell(&mut self, name: &str) {
        let Some(Some(known)) = self.wanted.get(name) else { return };
        let master = known.master.and_then(|index| self.masters.get(&index)).map(|(name, kind)| Master {
            name: name.clone(),
            kind: kind.clone(),
            port_mask: known.port_mask,
        });
        self.ready
            .push_back((name.to_owned(), Seen { link: known.link.clone(), enabled: known.enabled, master }));
    }

    fn wonder(&mut self, question: Question) {
        if !self.questions.contains(&question) {
            self.questions.push_back(question);
        }
    }

    fn forget_masters(&mut self) {
        if !self.masters.is_empty() {
            let used = |index| self.wanted.values().flatten().any(|known| known.master == Some(index));
            let unused: Vec<u32> = self.masters.keys().copied().filter(|index| !used(*index)).collect();
            self.masters.retain(|index, _| !unused.contains(index));
        }
    }
}

fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn link(message: &LinkMessage) -> Link {
    let mut mac = MacAddr::zero();
    let mut mtu = 1500;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(octets) => {
                if let Ok(octets) = <[u8; 6]>::try_from(octets.as_slice()) {
                    mac = MacAddr::from(octets);
                }
            }
            LinkAttribute::Mtu(octets) => mtu = *octets,
            _ => {}
        }
    }
    let flags = message.header.flags;
    // Running, not carrier: with carrier alone the kernel still drops what is sent for up to a second.
    let up = flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::Running);
    Link::Present { up, mac, ifindex: message.header.index, mtu }
}

fn master_index(message: &LinkMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index).filter(|index| *index != 0),
        _ => None,
    })
}

fn infos(message: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    message.attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.as_slice(),
        _ => &[],
    })
}

fn port_mask(message: &LinkMessage) -> u16 {
    let ports = infos(message).filter_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => Some(settings),
        _ => None,
    });
    let masks = ports.flatten().filter_map(|setting| match setting {
        InfoBridgePort::GroupFwdMask(mask) => Some(*mask),
        _ => None,
    });
    masks.last().unwrap_or(0)
}

fn kind(message: &LinkMessage) -> MasterKind {
    let (mut kind, mut stp, mut mask) = (None, false, 0);
    for info in infos(message) {
        match info {
            LinkInfo::Kind(is) => kind = Some(is),
            LinkInfo::Data(InfoData::Bridge(settings)) => {
                for setting in settings {
                    match setting {
                        InfoBridge::StpState(state) => stp = *state != BridgeStpState::Disabled,
                        InfoBridge::GroupFwdMask(bits) => mask = *bits,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    match kind {
        Some(InfoKind::Bridge) => MasterKind::Bridge { stp, mask },
        Some(other) => MasterKind::Other(other.to_string()),
        None => MasterKind::Other("unknown".into()),
    }
}
