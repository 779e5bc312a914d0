//! What the daemon offers on D-Bus, as data: what is told by introspection, documented in `docs/dbus.md`, answered and
//! signalled is this and nothing else.

/// One interface.
pub(crate) struct Interface {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) methods: &'static [Method],
    pub(crate) signals: &'static [Signal],
    pub(crate) properties: &'static [Property],
}

/// One method.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) takes: Arguments,
    pub(crate) gives: Arguments,
    pub(crate) right: Right,
    pub(crate) about: &'static str,
}

/// One signal.
pub(crate) struct Signal {
    pub(crate) name: &'static str,
    pub(crate) carries: Arguments,
    pub(crate) about: &'static str,
}

/// Names and signatures.
pub(crate) type Arguments = &'static [(&'static str, &'static str)];

/// One property, read from a row.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The field of the row, and fields of that; empty: the whole row.
    pub(crate) field: &'static str,
    pub(crate) tells: Tells,
    pub(crate) about: &'static str,
}

/// What a property is. What the row does not have is empty, 0 or false.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Texts,
    Flag,
    Number,
    Count,
    Table,
}

impl Kind {
    pub(crate) const fn signature(self) -> &'static str {
        match self {
            Self::Text => "s",
            Self::Texts => "as",
            Self::Flag => "b",
            Self::Number => "u",
            Self::Count => "t",
            Self::Table => "a{sv}",
        }
    }
}

/// Whether a change is signalled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// With its value.
    Changes,
    /// Not: it changes all the time, and is to be read when it is wanted.
    Nothing,
    /// It does not change while the daemon runs.
    Constant,
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// Whoever may look.
    Read,
    /// Whoever may change things: root, and the group of the configuration.
    Change,
}

impl Interface {
    pub(crate) fn method(&self, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == name)
    }

    pub(crate) fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == name)
    }
}

/// Every interface of ours.
pub(crate) const ALL: &[&Interface] = &[&DAEMON, &PORT, &EXTENDED, &EVB, &CHANNEL, &VSI, &NEIGHBOR];

/// The daemon itself.
pub(crate) const DAEMON: Interface = Interface {
    name: "org.evbd.Daemon1",
    about: "The daemon, at `/org/evbd`: its tables, its events, and orders that concern no object there is.",
    methods: &[
        show("Neighbors", "LLDP neighbours, a row each."),
        show("Evb", "EVB negotiation, a row for each port that takes part."),
        show("Extension", "Sessions of port extension, a row each."),
        show("Channels", "S-channels, a row each, those wanted and not there too."),
        show("Vsi", "VSIs, a row each."),
        show("Ports", "Ports with their counters, a row each."),
        show("Dcbx", "DCBX, a row for each feature of each port."),
        show("Fdb", "Addresses the relay forwards by, a row each."),
        show("Profiles", "VSI types and what they permit, a row each."),
        show("Managers", "VSI managers asked for types, a row each."),
        show("Drops", "The frames dropped last, a row each."),
        show("Rates", "What every port and every open VSI has moved, a row each; two of them make a rate."),
        show(
            "Guests",
            "Interfaces of VMs that the hypervisor, or their names, say something of, a row each.",
        ),
        show("Captures", "Captures of mirrored frames, a row each."),
        show("Flows", "Flows that the kernel forwards, or is about to, a row each."),
        show("Libvirt", "VSIs libvirt has asked for, a row each."),
        Method {
            name: "Why",
            takes: &[("subject", "s")],
            gives: &[("rows", ROWS)],
            right: Right::Read,
            about: "Why the frames of a VSI pass or do not: a row for each VSI an identifier, name or MAC address names, also of one \
                    that is gone.",
        },
        Method {
            name: "Trace",
            takes: &[("port", "s"), ("frame", "ay")],
            gives: &[("way", ROW)],
            right: Right::Read,
            about: "What the relay would do with a frame, had it come in on a port now.",
        },
        Method {
            name: "Events",
            takes: &[("after", "t")],
            gives: &[("rows", ROWS)],
            right: Right::Read,
            about: "Remembered events numbered above `after`, oldest first.",
        },
        Method {
            name: "Reload",
            takes: &[],
            gives: &[("rows", ROWS)],
            right: Right::Change,
            about: "Reads the configuration again and applies what changed: a row for each difference. Fails with \
                    `org.evbd.Error.Configuration`, and changes nothing, when the file is wrong.",
        },
        Method {
            name: "OrderVsi",
            takes: &[("order", ROW)],
            gives: &[("event", ROW)],
            right: Right::Change,
            about: "Has an order for a VSI carried out: `command` (`associate`, `pre_associate`, `pre_associate_rr`, \
                    `de_associate`), `vsi` (`{known: NAME}` or `{given: {…}}` with all its attributes), `hints`, `port`. Gives the \
                    event that says so; what comes of it is told by events with higher numbers.",
        },
        Method {
            name: "Guest",
            takes: &[("word", ROW)],
            gives: &[("rows", ROWS)],
            right: Right::Change,
            about: "Says something of a VM, as `evbd hook` does: `starts`, `runs` (`{uuid, name, nics: [{mac, tap, vsi}]}`), `comes`, \
                    `gone` (a UUID), `port`, `port_gone` (`{owner, mac, vsi}`). Gives the rows of `Guests` as they are then.",
        },
        Method {
            name: "Stop",
            takes: &[("deassociate", "b"), ("timeout", "u")],
            gives: &[("rows", ROWS)],
            right: Right::Change,
            about: "Ends the daemon. With `deassociate`, every VSI is de-associated first, which may take `timeout` seconds: a row \
                    for each, `deassociated` once the other end has said so.",
        },
    ],
    signals: &[Signal {
        name: "Event",
        carries: &[("event", ROW)],
        about: "An event, with its `number` and its name as `event`. A gap in the numbers is filled by `Events`.",
    }],
    properties: &[
        constant("Version", Kind::Text, "version", "Version of the daemon."),
        constant(
            "Schema",
            Kind::Number,
            "schema",
            "Version of the rows' fields: fields are added within a version, never renamed or removed.",
        ),
        constant("Name", Kind::Text, "name", "The configured system name."),
        constant("Role", Kind::Text, "role", "`station` or `bridge`."),
    ],
};

/// A port.
pub(crate) const PORT: Interface = Interface {
    name: "org.evbd.Port1",
    about: "A port, at `/org/evbd/port/INTERFACE`; the end of an S-channel is one, too, and is called `INTERFACE/SCID`.",
    methods: &[Method {
        name: "Trace",
        takes: &[("frame", "ay")],
        gives: &[("way", ROW)],
        right: Right::Read,
        about: "What the relay would do with a frame, had it come in here now.",
    }],
    signals: &[],
    properties: &[
        constant("Interface", Kind::Text, "port", "Its interface."),
        constant("Kind", Kind::Text, "kind", "What it faces: `uplink`, `vm`, `station`, `lan`."),
        told("Link", Kind::Text, "link", "`up`, `down` or `absent`."),
        told("Address", Kind::Text, "mac", "MAC address of the interface."),
        told("Mtu", Kind::Number, "mtu", "Octets of payload it carries."),
        told(
            "Carrier",
            Kind::Text,
            "carrier",
            "What moves its frames: `packet`, `xdp`; empty if nothing does.",
        ),
        told("Fault", Kind::Text, "fault", "Why its frames are not moved; empty if nothing is wrong."),
        silent("FramesReceived", Kind::Count, "rx_frames", "Frames that came in."),
        silent("FramesForwarded", Kind::Count, "forwarded", "Of these, those forwarded."),
        silent("FramesSent", Kind::Count, "tx_frames", "Frames that left."),
        silent("FramesReflected", Kind::Count, "reflected", "Frames that left where they had come in."),
        silent("Drops", Kind::Table, "drops", "Frames dropped, by reason."),
        silent("Details", Kind::Table, "", "All that `evbd show ports --json` has of it."),
    ],
};

/// An extended port.
pub(crate) const EXTENDED: Interface = Interface {
    name: "org.evbd.Extended1",
    about: "What is particular of a port that is a port extender's, at the port's object, `/org/evbd/port/CASCADE:CHANNEL`.",
    methods: &[],
    signals: &[],
    properties: &[
        constant("Cascade", Kind::Text, "cascade", "The interface it is behind."),
        constant("Channel", Kind::Number, "pcid", "Its E-channel."),
        told(
            "Extender",
            Kind::Text,
            "extender",
            "What its port extender calls itself; empty if it does not say.",
        ),
        told("Name", Kind::Text, "name", "What its port extender calls it; empty if that does not say."),
        told("By", Kind::Text, "by", "The port its port extender is reached by."),
        told(
            "Session",
            Kind::Text,
            "session",
            "Where the session with its port extender stands, in words; empty where there is none.",
        ),
        told(
            "Presumed",
            Kind::Flag,
            "presumed",
            "It goes on as before a restart, and its port extender has not spoken of it yet.",
        ),
        constant("Nested", Kind::Flag, "nested", "Another port extender may be behind it."),
        told("Shut", Kind::Text, "shut", "Why nothing passes, if the configuration is why."),
        told("Lag", Kind::Text, "lag", "The link aggregation group it is a member of."),
        silent(
            "Counters",
            Kind::Table,
            "counters",
            "What its port extender has counted there, and `age_s`, the seconds since it said so.",
        ),
    ],
};

/// EVB on a port.
pub(crate) const EVB: Interface = Interface {
    name: "org.evbd.Evb1",
    about: "EVB, ECP and VDP of a port that takes part, at the port's object.",
    methods: &[],
    signals: &[],
    properties: &[
        constant("Role", Kind::Text, "role", "`station` or `bridge`."),
        told("Mode", Kind::Text, "mode", "The edge relay wanted; empty on a bridge."),
        told("Relay", Kind::Text, "relay", "The edge relay there is; empty on a bridge."),
        told("Because", Kind::Text, "because", "Why it is that one."),
        told(
            "Probe",
            Kind::Text,
            "probe.state",
            "What probes tell of the bridge's reflection; empty on a bridge.",
        ),
        told("ReflectiveRelay", Kind::Text, "reflective_relay.state", "`unknown`, `off` or `on`."),
        told("ReflectiveRelayBecause", Kind::Text, "reflective_relay.words", "Why."),
        told(
            "Neighbors",
            Kind::Number,
            "neighbors",
            "How many neighbours could be the other end; EVB joins two.",
        ),
        told(
            "Dialect",
            Kind::Text,
            "dialect",
            "`standard`, or `draft` with a neighbour that speaks only that.",
        ),
        silent("Ecp", Kind::Table, "ecp", "What ECP is doing, and has counted."),
        silent("Vdp", Kind::Table, "vdp", "What VDP has counted."),
        silent("Details", Kind::Table, "", "All that `evbd show evb --json` has of it."),
    ],
};

/// An S-channel.
pub(crate) const CHANNEL: Interface = Interface {
    name: "org.evbd.Channel1",
    about: "An S-channel, or one that is wanted, at `/org/evbd/port/INTERFACE/channel/SCID`.",
    methods: &[],
    signals: &[],
    properties: &[
        constant("Number", Kind::Number, "scid", "Its SCID."),
        told("Name", Kind::Text, "name", "What the configuration calls it."),
        told("Svid", Kind::Number, "svid", "The S-VLAN that carries it; 0 while there is none."),
        told("Active", Kind::Flag, "active", "Whether it is there."),
        told("Because", Kind::Text, "because", "Why it is not."),
        told("End", Kind::Text, "end", "The port it ends at."),
        silent("Details", Kind::Table, "", "All that `evbd show channels --json` has of it."),
    ],
};

/// A VSI.
pub(crate) const VSI: Interface = Interface {
    name: "org.evbd.Vsi1",
    about: "A VSI, at `/org/evbd/port/INTERFACE/vsi/ID`, where INTERFACE is the uplink, S-channel or port its VDP goes by. Each order \
            gives the event that says it was taken; what comes of it shows in the properties and in events.",
    methods: &[
        order("Associate", &[], "Has its station associate it. A bridge starts no VSIs."),
        order(
            "Preassociate",
            &[("reserve", "b")],
            "Has its station prepare the bridge for it, with resources reserved or not.",
        ),
        order(
            "Deassociate",
            &[],
            "Ends it: at a station by asking the bridge, at a bridge by withdrawing it.",
        ),
        order(
            "Migrate",
            &[("phase", "s")],
            "What a station does for a VM that moves. On the target, `prepare` reserves at its bridge (Pre-Associate with RR, M) \
             and `arrive` associates (M); on the source, `leave` tells the bridge that the VM is suspended here (Associate, S), \
             `stay` that it is not after all, and `Deassociate` ends it.",
        ),
        Method {
            name: "Why",
            takes: &[],
            gives: &[("rows", ROWS)],
            right: Right::Read,
            about: "Why its frames pass or do not.",
        },
    ],
    signals: &[],
    properties: &[
        constant("Identifier", Kind::Text, "id", "Its VSI instance identifier."),
        told("Name", Kind::Text, "name", "What its station calls it; empty on a bridge."),
        told("Interface", Kind::Text, "interface", "Interface of its VM; empty on a bridge."),
        told("State", Kind::Text, "state", "What its machine is doing."),
        told(
            "Confirmed",
            Kind::Text,
            "confirmed",
            "The command that stands: confirmed by, or carried out at, the bridge.",
        ),
        told("Wanted", Kind::Text, "wanted", "The command its station wants."),
        told("Gate", Kind::Text, "gate", "`open` while its frames pass, else `shut`."),
        told("Profile", Kind::Text, "profile", "The profile its type names, where one is known."),
        told("Manager", Kind::Text, "manager", "The manager of its type."),
        told("Type", Kind::Number, "type_id", "Its VSI type."),
        told("TypeVersion", Kind::Number, "version", "The version of its type."),
        told("LastError", Kind::Text, "last_error", "What went wrong last."),
        silent("Details", Kind::Table, "", "All that `evbd show vsi --json` has of it."),
    ],
};

/// A neighbour.
pub(crate) const NEIGHBOR: Interface = Interface {
    name: "org.evbd.Neighbor1",
    about: "An LLDP neighbour, at `/org/evbd/port/INTERFACE/neighbor/SCOPE/CHASSIS/PORT`.",
    methods: &[],
    signals: &[],
    properties: &[
        constant("Scope", Kind::Text, "scope", "`nearest_bridge`, `nearest_non_tpmr` or `nearest_customer`."),
        constant("Chassis", Kind::Text, "chassis", "Its chassis ID."),
        constant("PortId", Kind::Text, "port_id", "Its port ID."),
        told("SystemName", Kind::Text, "system_name", "Its system name."),
        told("SystemDescription", Kind::Text, "system_description", "Its system description."),
        told("PortDescription", Kind::Text, "port_description", "Its port description."),
        told("ManagementAddresses", Kind::Texts, "management", "Its management addresses."),
        told("Address", Kind::Text, "address", "The MAC address it speaks from."),
        told("Evb", Kind::Flag, "evb", "Whether it speaks EVB."),
        told("Organizational", Kind::Texts, "organizational", "Its organizational TLVs, in words."),
        silent(
            "ExpiresIn",
            Kind::Number,
            "expires_in_s",
            "Seconds until it is forgotten, unless it speaks again.",
        ),
        silent("Details", Kind::Table, "", "All that `evbd show neighbors --json` has of it."),
    ],
};

const ROW: &str = "a{sv}";
const ROWS: &str = "aa{sv}";

const fn show(name: &'static str, about: &'static str) -> Method {
    Method { name, takes: &[], gives: &[("rows", ROWS)], right: Right::Read, about }
}

const fn order(name: &'static str, takes: Arguments, about: &'static str) -> Method {
    Method { name, takes, gives: &[("event", ROW)], right: Right::Change, about }
}

const fn told(name: &'static str, kind: Kind, field: &'static str, about: &'static str) -> Property {
    Property { name, kind, field, tells: Tells::Changes, about }
}

const fn silent(name: &'static str, kind: Kind, field: &'static str, about: &'static str) -> Property {
    Property { name, kind, field, tells: Tells::Nothing, about }
}

const fn constant(name: &'static str, kind: Kind, field: &'static str, about: &'static str) -> Property {
    Property { name, kind, field, tells: Tells::Constant, about }
}
