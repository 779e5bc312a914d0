//! What goes into a [`Bridge`](super::Bridge) and comes out of it.

use std::fmt;

use ether::Instant;
use serde::{Deserialize, Serialize};

use crate::{
    error::ErrorCode,
    filter::FilterInfo,
    history::Entry,
    outbox::Message,
    tlv::{Command, Hints},
    vsi::{ManagerId, TypeId, TypeVersion, VsiId},
};

/// What the standard leaves to the implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// VSIs the bridge holds at most on this port; further ones are refused with error 2.
    pub max_vsis: usize,
}

impl Default for BridgeConfig {
    /// 16384 VSIs.
    fn default() -> Self {
        Self { max_vsis: 16_384 }
    }
}

/// What a [`Bridge`](super::Bridge) wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this TLV: put it into the port's [`Outbox`](crate::Outbox).
    Transmit(Message),
    /// Ask the VSI type database and answer with [`Bridge::answer`](super::Bridge::answer).
    Query(Query),
    /// Let these frames of the VSI pass, and no others of it: replaces what was installed for it before.
    Install {
        /// Which VSI.
        id: VsiId,
        /// The manager of its type.
        manager: ManagerId,
        /// Its type.
        type_id: TypeId,
        /// The edition of its type.
        version: TypeVersion,
        /// Its frames, every VID filled in.
        filter: FilterInfo,
        /// What the station tells of a migration.
        hints: Hints,
    },
    /// Let no more frames of the VSI pass.
    Remove {
        /// Which VSI.
        id: VsiId,
        /// What was installed for it.
        filter: FilterInfo,
        /// Why.
        cause: Cause,
    },
    /// Remember this in the place of what is remembered of the VSI: it must survive a restart. Comes before the answer
    /// that promises it.
    Held(Held),
    /// Forget what is remembered of the VSI. Comes before frames stop and before the answer that says so.
    Released(VsiId),
    /// Something worth telling.
    Event(BridgeEvent),
}

/// What a station was granted: what a bridge must know after a restart to hold the VSI as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which VSI.
    pub id: VsiId,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    pub type_id: TypeId,
    /// The edition of its type.
    pub version: TypeVersion,
    /// Its frames as granted.
    pub filter: FilterInfo,
    /// Which command was carried out; never a De-Associate.
    pub command: Command,
    /// What the station told of a migration.
    #[serde(default)]
    pub hints: Hints,
}

/// What a station asks for, to be decided by the VSI type database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// Names the query in its answer: a later query of the same VSI has another one.
    pub serial: u64,
    /// Which VSI.
    pub id: VsiId,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    pub type_id: TypeId,
    /// The edition of its type.
    pub version: TypeVersion,
    /// Its frames; null VIDs are to be filled in.
    pub filter: FilterInfo,
    /// What is asked for; never a De-Associate.
    pub command: Command,
    /// What the station tells of a migration.
    pub hints: Hints,
}

/// The decision on a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The command may be carried out.
    Accept {
        /// The filter of the query with its null VIDs filled in, and priorities where the query had none.
        filter: FilterInfo,
    },
    /// It may not.
    Refuse {
        /// The error code, 1..=15.
        error: u8,
        /// Whether repeating the command is pointless.
        hard: bool,
        /// Whether an association that stands may go on standing.
        keep: bool,
        /// Why, for the history.
        words: String,
    },
}

/// What has become of a VSI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum BridgeEvent {
    /// It is prepared for.
    PreAssociated {
        /// Which VSI.
        id: VsiId,
        /// Which of the two commands was carried out.
        command: Command,
        /// Its frames.
        filter: FilterInfo,
    },
    /// It is associated: its frames pass.
    Associated {
        /// Which VSI.
        id: VsiId,
        /// Its frames.
        filter: FilterInfo,
    },
    /// It is held as before a restart.
    Resumed {
        /// Which VSI.
        id: VsiId,
        /// Which command had been carried out.
        command: Command,
        /// Its frames.
        filter: FilterInfo,
    },
    /// A command was refused.
    Refused {
        /// Which VSI, unless its identifier could not be read.
        id: Option<VsiId>,
        /// Which command.
        command: Command,
        /// Why.
        error: ErrorCode,
        /// Why, in words.
        words: String,
        /// Whether repeating the command is pointless.
        hard: bool,
        /// Whether the association that stood still stands.
        kept: bool,
    },
    /// It is gone.
    Deassociated {
        /// Which VSI.
        id: VsiId,
        /// Why.
        cause: Cause,
        /// Why, in words.
        words: String,
    },
}

/// Why a VSI is gone at the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The station de-associated it.
    Station,
    /// Nothing was heard of it within toutKeepAlive.
    KeepAliveExpired,
    /// A command on it was refused, and the refusal left nothing standing.
    Refused,
    /// The administrator removed it.
    Administrator,
    /// The VSI type database no longer permits it.
    TypeWithdrawn,
    /// The port is removed, or plays its role no longer.
    PortReleased,
    /// The station is not heard any more, and VSIs do not outlive it by policy (UNSURE-8).
    PeerLost,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Station => "de-associated by the station",
            Self::KeepAliveExpired => "nothing heard of it within toutKeepAlive",
            Self::Refused => "a command on it was refused",
            Self::Administrator => "removed by the administrator",
            Self::TypeWithdrawn => "its type no longer permits it",
            Self::PortReleased => "its port was released",
            Self::PeerLost => "released, because the station is not heard any more",
        })
    }
}

/// What the machine of a VSI is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VsiState {
    /// The type database was asked.
    Processing,
    /// A command is carried out; the next thing is the station's.
    Confirmed,
}

/// A VSI, for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VsiView {
    /// Which VSI.
    pub id: VsiId,
    /// What its machine is doing.
    pub state: VsiState,
    /// The command that was carried out last.
    pub confirmed: Option<Command>,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    pub type_id: TypeId,
    /// The edition of its type.
    pub version: TypeVersion,
    /// Its frames: as granted, else as asked for.
    pub filter: FilterInfo,
    /// Why a command was refused last, in words.
    pub last_error: Option<String>,
    /// When its machine does something by itself.
    pub next_timer: Option<Instant>,
    /// What happened to it, oldest first.
    pub history: Vec<Entry>,
}
