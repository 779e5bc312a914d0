//! Object paths: which object stands for which port, S-channel, VSI or neighbour.
//!
//! Names become elements of a path as systemd spells them: what is no letter or digit is `_` and two hexadecimal digits.
//! So every name has one path, and every path one name.

/// Where the daemon's own object is; the others are below it.
pub(crate) const ROOT: &str = "/org/evbd";

/// What an object stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The daemon.
    Daemon,
    /// A port, by its interface.
    Port(String),
    /// The S-channel of a port that has this number.
    Channel(String, String),
    /// The VSI of this identifier on a port.
    Vsi(String, String),
    /// A neighbour of a port: scope, chassis, port.
    Neighbor(String, [String; 3]),
}

impl Place {
    /// Its path.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Daemon => ROOT.to_owned(),
            Self::Port(port) => below(&["port", &escape(port)]),
            Self::Channel(port, scid) => below(&["port", &escape(port), "channel", &escape(scid)]),
            Self::Vsi(port, id) => below(&["port", &escape(port), "vsi", &escape(id)]),
            Self::Neighbor(port, [scope, chassis, id]) => {
                below(&["port", &escape(port), "neighbor", &escape(scope), &escape(chassis), &escape(id)])
            }
        }
    }

    /// What stands at `path`, if anything may.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        if rest.is_empty() {
            return Some(Self::Daemon);
        }
        let elements: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
        Some(match *elements.as_slice() {
            ["port", port] => Self::Port(unescape(port)?),
            ["port", port, "channel", scid] => Self::Channel(unescape(port)?, unescape(scid)?),
            ["port", port, "vsi", id] => Self::Vsi(unescape(port)?, unescape(id)?),
            ["port", port, "neighbor", scope, chassis, id] => {
                Self::Neighbor(unescape(port)?, [unescape(scope)?, unescape(chassis)?, unescape(id)?])
            }
            _ => return None,
        })
    }
}

fn below(elements: &[&str]) -> String {
    format!("{ROOT}/{}", elements.join("/"))
}

fn escape(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut element = String::with_capacity(name.len());
    for octet in name.bytes() {
        if octet.is_ascii_alphanumeric() {
            element.push(char::from(octet));
        } else {
            element.push_str(&format!("_{octet:02x}"));
        }
    }
    element
}

fn unescape(element: &str) -> Option<String> {
    if element == "_" {
        return Some(String::new());
    }
    let mut octets = Vec::with_capacity(element.len());
    let mut rest = element.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'_' {
            octets.push(octet);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        octets.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    let name = String::from_utf8(octets).ok()?;
    // One path alone for each name.
    (escape(&name) == element).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_readable() {
        let vsi = Place::Vsi("eth0/3".into(), "52:54:00:00:00:01".into());
        assert_eq!(vsi.path(), "/org/evbd/port/eth0_2f3/vsi/52_3a54_3a00_3a00_3a00_3a01");
        assert_eq!(Place::at("/org/evbd"), Some(Place::Daemon));
        for none in [
            "/",
            "/org",
            "/org/evbd/",
            "/org/evbd/port",
            "/org/evbd/port/a_2",
            "/org/evbd/port/_61",
            "/org/evbdx",
        ] {
            assert_eq!(Place::at(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_path_of_its_own(a in ".{0,20}", b in ".{0,20}", c in ".{0,9}") {
            let names = [a.clone(), b.clone(), c];
            let places = [Place::Port(a.clone()), Place::Vsi(a.clone(), b.clone()), Place::Channel(a.clone(), b), Place::Neighbor(a, names)];
            for place in places {
                prop_assert!(zbus::ObjectPath::try_from(place.path()).is_ok());
                prop_assert_eq!(Place::at(&place.path()), Some(place));
            }
        }
    }
}
