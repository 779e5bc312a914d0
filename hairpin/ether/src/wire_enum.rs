//! Enumerations of the wire that keep what they do not know.

/// Declares an enum over an unsigned wire code with an `Unknown(code)` variant, and conversions both ways.
///
/// ```
/// ether::wire_enum! {
///     /// A colour of the wire.
///     pub enum Colour: u8 {
///         /// Red.
///         Red = 1,
///     }
/// }
/// assert_eq!(Colour::from(7), Colour::Unknown(7));
/// assert_eq!(u8::from(Colour::Red), 1);
/// ```
#[macro_export]
macro_rules! wire_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident: $repr:ty { $($(#[$vmeta:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A code this implementation does not know, kept as received.
            Unknown($repr),
        }

        impl From<$repr> for $name {
            fn from(code: $repr) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<$name> for $repr {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $code,)+
                    $name::Unknown(code) => code,
                }
            }
        }
    };
}
