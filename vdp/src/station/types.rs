//! What goes into a [`Station`](super::Station) and comes out of it.

use std::fmt;

use ether::{Instant, time::Duration};
use serde::{Deserialize, Serialize};

use crate::{
    error::ErrorCode,
    filter::FilterInfo,
    history::Entry,
    outbox::Message,
    tlv::{Association, Command, Hints, Status},
    vsi::{ManagerId, TypeId, TypeVersion, VsiId},
};

/// What the standard leaves to the implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationConfig {
    /// VSIs the station holds at most.
    pub max_vsis: usize,
    /// How long it waits before it repeats a command that failed; doubled with every further failure.
    pub first_retry: Duration,
    /// The longest it waits.
    pub last_retry: Duration,
    /// How long it waits after a refusal the bridge calls permanent.
    pub hard_retry: Duration,
    /// Whether a bridge may leave open the VLAN it was asked to choose: the frames go out as the VM sends them.
    pub open_vlan: bool,
}

impl Default for StationConfig {
    /// 16384 VSIs, retries from 1 s to 30 s, 5 min after a permanent refusal.
    fn default() -> Self {
        Self {
            max_vsis: 16_384,
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_secs(30),
            hard_retry: Duration::from_secs(300),
            open_vlan: false,
        }
    }
}

/// What the hypervisor wants of a VSI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsiRequest {
    /// Which VSI.
    pub id: VsiId,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    pub type_id: TypeId,
    /// The edition of its type.
    pub version: TypeVersion,
    /// Its frames.
    pub filter: FilterInfo,
    /// What is to happen.
    pub command: Command,
    /// What is known of a migration.
    #[serde(default)]
    pub hints: Hints,
}

impl VsiRequest {
    pub(super) fn association(&self) -> Association {
        Association {
            command: self.command,
            status: Status::Request(self.hints),
            type_id: self.type_id,
            version: self.version,
            id: self.id,
            filter: Some(self.filter.clone()),
        }
    }

    /// Whether type, edition and manager are those of `other`.
    pub(super) fn same_type(&self, manager: ManagerId, type_id: TypeId, version: TypeVersion) -> bool {
        (self.manager, self.type_id, self.version) == (manager, type_id, version)
    }

    /// The same VSI with another command.
    pub(super) fn with_command(&self, command: Command, hints: Hints) -> Self {
        Self { command, hints, ..self.clone() }
    }
}

/// What a station must know after a restart to have the VSI as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What the hypervisor wants; never a De-Associate.
    pub request: VsiRequest,
    /// What the bridge has confirmed: which command, and the filter as it returned it.
    pub confirmed: Option<(Command, FilterInfo)>,
}

/// Why a command was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The station holds as many VSIs as it may.
    #[error("the station holds {0} VSIs already")]
    Full(usize),
    /// The VSI is associated, or about to be: it can only be de-associated (UNSURE-6).
    #[error("an associated VSI cannot go back to pre-associated: de-associate it first")]
    Downgrade,
}

/// What a [`Station`](super::Station) wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this TLV: put it into the port's [`Outbox`](crate::Outbox).
    Transmit(Message),
    /// Remember this in the place of what is remembered of the VSI: it must survive a restart.
    Held(Held),
    /// Forget what is remembered of the VSI.
    Released(VsiId),
    /// Something the data path and the hypervisor must know.
    Event(StationEvent),
}

/// What has become of a VSI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum StationEvent {
    /// The bridge is prepared for the VSI. The gate stays as it is.
    PreAssociated {
        /// Which VSI.
        id: VsiId,
        /// Which of the two commands was confirmed.
        command: Command,
        /// The filter as the bridge returned it; VIDs may still be null.
        filter: FilterInfo,
    },
    /// Open the gate for these frames. Also sent when the bridge confirms other values for an open gate.
    Associated {
        /// Which VSI.
        id: VsiId,
        /// The filter as the bridge returned it, every VID filled in.
        filter: FilterInfo,
    },
    /// A command failed. If the gate was open, [`StationEvent::Gone`] came before.
    Refused {
        /// Which VSI.
        id: VsiId,
        /// Which command.
        command: Command,
        /// What went wrong.
        cause: Cause,
        /// The error code, if the bridge sent one or the answer amounts to one.
        error: Option<ErrorCode>,
        /// The cause in words.
        words: String,
        /// Whether the bridge calls the refusal permanent: it is repeated only slowly.
        hard: bool,
        /// When the command will be repeated; `None` if it waits for the bridge, or another command is next.
        retry_at: Option<Instant>,
    },
    /// A command on an associated VSI was refused and the association stands as it was: the gate stays open.
    Kept {
        /// Which VSI.
        id: VsiId,
        /// The error code.
        error: ErrorCode,
        /// The error in words.
        words: String,
    },
    /// Shut the gate: the bridge no longer knows the VSI, or must be taken not to.
    Gone {
        /// Which VSI.
        id: VsiId,
        /// Why.
        cause: Cause,
        /// The cause in words.
        words: String,
        /// When the station will ask again; `None` if it will not, waits for the bridge, or another command is next.
        retry_at: Option<Instant>,
    },
}

/// Why a VSI is gone or a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The hypervisor de-associated it.
    Commanded,
    /// De-associated to be associated with other values.
    Replaced,
    /// The bridge de-associated it unasked.
    PeerDeassociated,
    /// The bridge refused the command or the keep-alive.
    Refused {
        /// Why.
        error: ErrorCode,
        /// Whether for good.
        hard: bool,
    },
    /// The bridge answered the keep-alive with KEEP: it holds something else than we do.
    Reverted {
        /// Why.
        error: ErrorCode,
    },
    /// No answer within respWaitDelay.
    Timeout,
    /// The bridge is not heard any more, and VSIs do not outlive it by policy (UNSURE-8).
    PeerLost,
    /// The answer is not what was asked for, beyond what the bridge may fill in.
    Mismatch,
    /// Its filter names groups, and the two ends have not agreed on groups: nothing was sent.
    NoGroups,
    /// The bridge confirmed an Associate without naming the VLAN it was asked to choose.
    NullVid,
}

impl Cause {
    /// The error code this amounts to.
    #[must_use]
    pub const fn error(self) -> Option<ErrorCode> {
        match self {
            Self::Refused { error, .. } | Self::Reverted { error } => Some(error),
            Self::NullVid | Self::NoGroups => Some(ErrorCode::InvalidVidGroupOrMac),
            Self::Commanded
            | Self::Replaced
            | Self::PeerDeassociated
            | Self::Timeout
            | Self::PeerLost
            | Self::Mismatch => None,
        }
    }

    /// Whether repeating the command is pointless: the bridge says so, or it is plain.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        matches!(self, Self::Refused { hard: true, .. } | Self::NoGroups)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commanded => f.write_str("de-associated by command"),
            Self::Replaced => f.write_str("de-associated to be associated with other values"),
            Self::PeerDeassociated => f.write_str("the bridge de-associated the VSI"),
            Self::Refused { error, hard: false } => write!(f, "the bridge refused: {error}"),
            Self::Refused { error, hard: true } => {
                write!(f, "the bridge refused for good: {error}; repeated only slowly")
            }
            Self::Reverted { error } => write!(f, "the bridge answered the keep-alive with KEEP: {error}"),
            Self::Timeout => f.write_str("the bridge did not answer in time"),
            Self::PeerLost => f.write_str("released, because the bridge is not heard any more"),
            Self::Mismatch => f.write_str("the bridge's answer differs from what was asked for"),
            Self::NoGroups => {
                f.write_str("the filter names groups, and the two ends have not agreed on groups")
            }
            Self::NullVid => f.write_str("the bridge confirmed the association without naming a VLAN"),
        }
    }
}

/// What the machine of a VSI is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VsiState {
    /// A command waits for the bridge to be there.
    Held,
    /// A command awaits its answer.
    Processing,
    /// Confirmed; the next thing is the keep-alive.
    Confirmed,
    /// A keep-alive awaits its answer.
    KeepAlive,
    /// A De-Associate awaits its answer.
    Deassociating,
    /// A command that failed waits to be repeated.
    BackOff,
}

/// A VSI, for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VsiView {
    /// Which VSI.
    pub id: VsiId,
    /// What its machine is doing.
    pub state: VsiState,
    /// What the bridge has confirmed.
    pub confirmed: Option<Command>,
    /// What the hypervisor wants; `None` once it has asked for a De-Associate.
    pub wanted: Option<Command>,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    pub type_id: TypeId,
    /// The edition of its type.
    pub version: TypeVersion,
    /// Its frames: as the bridge returned them, else as asked for.
    pub filter: FilterInfo,
    /// What went wrong last, in words.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// When its machine does something by itself.
    pub next_timer: Option<Instant>,
    /// What happened to it, oldest first.
    pub history: Vec<Entry>,
}
