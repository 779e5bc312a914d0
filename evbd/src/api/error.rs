//! Why a call is not answered: each reason a D-Bus error of its own.

/// What is wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    UnknownMethod,
    UnknownObject,
    UnknownInterface,
    UnknownProperty,
    ReadOnly,
    Arguments,
    Denied,
    UnknownVsi,
    AmbiguousVsi,
    WrongRole,
    Conflict,
    Full,
    Refused,
    NotThere,
    Configuration,
    Stopping,
}

impl Kind {
    /// All there are.
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::UnknownMethod,
        Self::UnknownObject,
        Self::UnknownInterface,
        Self::UnknownProperty,
        Self::ReadOnly,
        Self::Arguments,
        Self::Denied,
        Self::UnknownVsi,
        Self::AmbiguousVsi,
        Self::WrongRole,
        Self::Conflict,
        Self::Full,
        Self::Refused,
        Self::NotThere,
        Self::Configuration,
        Self::Stopping,
    ];

    /// Its name on the bus.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UnknownMethod => "org.freedesktop.DBus.Error.UnknownMethod",
            Self::UnknownObject => "org.freedesktop.DBus.Error.UnknownObject",
            Self::UnknownInterface => "org.freedesktop.DBus.Error.UnknownInterface",
            Self::UnknownProperty => "org.freedesktop.DBus.Error.UnknownProperty",
            Self::ReadOnly => "org.freedesktop.DBus.Error.PropertyReadOnly",
            Self::Arguments => "org.freedesktop.DBus.Error.InvalidArgs",
            Self::Denied => "org.freedesktop.DBus.Error.AccessDenied",
            Self::UnknownVsi => "org.evbd.Error.UnknownVsi",
            Self::AmbiguousVsi => "org.evbd.Error.AmbiguousVsi",
            Self::WrongRole => "org.evbd.Error.WrongRole",
            Self::Conflict => "org.evbd.Error.Conflict",
            Self::Full => "org.evbd.Error.Full",
            Self::Refused => "org.evbd.Error.Refused",
            Self::NotThere => "org.evbd.Error.NotThere",
            Self::Configuration => "org.evbd.Error.Configuration",
            Self::Stopping => "org.evbd.Error.Stopping",
        }
    }

    /// What it means.
    #[cfg(test)]
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::UnknownMethod => "No such method at this object.",
            Self::UnknownObject => "No such object, or no longer.",
            Self::UnknownInterface => "The object has no such interface.",
            Self::UnknownProperty => "The interface has no such property.",
            Self::ReadOnly => "All properties are read only: methods change things.",
            Self::Arguments => "The arguments are of other types, or say what cannot be.",
            Self::Denied => "The caller may not do this: see `group` and `readers` under `[control]`.",
            Self::UnknownVsi => "There is no such VSI.",
            Self::AmbiguousVsi => "Several VSIs are meant: name one by its identifier, or with its port.",
            Self::WrongRole => "A bridge starts no VSIs.",
            Self::Conflict => "What was given belongs to another VSI or port already.",
            Self::Full => "No port of the relay is free.",
            Self::Refused => "The order cannot be carried out as things stand; the message says why.",
            Self::NotThere => "There is no such port, S-channel or uplink.",
            Self::Configuration => "The configuration file is wrong; nothing has changed.",
            Self::Stopping => "The daemon is about to end.",
        }
    }
}

/// Why a call is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Error {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}
