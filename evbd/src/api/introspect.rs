//! The interfaces in words: introspection XML, and `docs/dbus.md`.

use std::fmt::Write;

use super::schema::{Arguments, Interface, Tells};
#[cfg(test)]
use super::{
    error::Kind as Error,
    schema::{self, Right},
};

/// What `Introspect` answers of an object with `interfaces` and `children`; the standard interfaces are there at every
/// object, and the object manager at the root of ours.
pub(crate) fn xml(interfaces: &[&Interface], root: bool, children: &[String]) -> String {
    let mut xml = String::from(DOCTYPE);
    xml.push_str("<node>\n");
    for interface in interfaces {
        describe(&mut xml, interface);
    }
    xml.push_str(STANDARD);
    if root {
        xml.push_str(MANAGER);
    }
    for child in children {
        let _ = writeln!(xml, "  <node name=\"{child}\"/>");
    }
    xml.push_str("</node>\n");
    xml
}

fn describe(xml: &mut String, interface: &Interface) {
    // Writing to a string does not fail.
    let _ = writeln!(xml, "  <interface name=\"{}\">", interface.name);
    about(xml, "    ", interface.about);
    for method in interface.methods {
        let _ = writeln!(xml, "    <method name=\"{}\">", method.name);
        about(xml, "      ", method.about);
        arguments(xml, method.takes, " direction=\"in\"");
        arguments(xml, method.gives, " direction=\"out\"");
        xml.push_str("    </method>\n");
    }
    for signal in interface.signals {
        let _ = writeln!(xml, "    <signal name=\"{}\">", signal.name);
        about(xml, "      ", signal.about);
        arguments(xml, signal.carries, "");
        xml.push_str("    </signal>\n");
    }
    for property in interface.properties {
        let (name, signature) = (property.name, property.kind.signature());
        let _ = writeln!(xml, "    <property name=\"{name}\" type=\"{signature}\" access=\"read\">");
        about(xml, "      ", property.about);
        let emits = match property.tells {
            Tells::Changes => "true",
            Tells::Nothing => "false",
            Tells::Constant => "const",
        };
        let _ = writeln!(xml, "      <annotation name=\"{EMITS}\" value=\"{emits}\"/>");
        xml.push_str("    </property>\n");
    }
    xml.push_str("  </interface>\n");
}

fn arguments(xml: &mut String, arguments: Arguments, direction: &str) {
    for (name, signature) in arguments {
        let _ = writeln!(xml, "      <arg name=\"{name}\" type=\"{signature}\"{direction}/>");
    }
}

fn about(xml: &mut String, indent: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let _ = writeln!(xml, "{indent}<annotation name=\"{DOC}\" value=\"{text}\"/>");
}

/// The reference part of `docs/dbus.md`.
#[cfg(test)]
pub(crate) fn markdown() -> String {
    let mut text = String::new();
    for interface in schema::ALL {
        let _ = write!(text, "\n### {}\n\n{}\n", interface.name, interface.about);
        if !interface.methods.is_empty() {
            text.push_str("\n| method | takes | gives | who | |\n|---|---|---|---|---|\n");
        }
        for method in interface.methods {
            let who = match method.right {
                Right::Read => "readers",
                Right::Change => "group",
            };
            let (takes, gives) = (spelt(method.takes), spelt(method.gives));
            let _ = writeln!(text, "| `{}` | {takes} | {gives} | {who} | {} |", method.name, method.about);
        }
        if !interface.signals.is_empty() {
            text.push_str("\n| signal | carries | |\n|---|---|---|\n");
        }
        for signal in interface.signals {
            let _ = writeln!(text, "| `{}` | {} | {} |", signal.name, spelt(signal.carries), signal.about);
        }
        text.push_str("\n| property | type | changes | |\n|---|---|---|---|\n");
        for property in interface.properties {
            let changes = match property.tells {
                Tells::Changes => "signalled",
                Tells::Nothing => "not signalled",
                Tells::Constant => "never",
            };
            let (name, signature) = (property.name, property.kind.signature());
            let _ = writeln!(text, "| `{name}` | `{signature}` | {changes} | {} |", property.about);
        }
    }
    text.push_str("\n### Errors\n\n| error | |\n|---|---|\n");
    for error in Error::ALL {
        let _ = writeln!(text, "| `{}` | {} |", error.name(), error.about());
    }
    text
}

#[cfg(test)]
fn spelt(arguments: Arguments) -> String {
    let each: Vec<String> =
        arguments.iter().map(|(name, signature)| format!("`{name}` `{signature}`")).collect();
    each.join(", ")
}

const DOC: &str = "org.gtk.GDBus.DocString";
const EMITS: &str = "org.freedesktop.DBus.Property.EmitsChangedSignal";
const DOCTYPE: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\" \
                       \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";
const STANDARD: &str = r#"  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml_data" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="props" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"#;
const MANAGER: &str = r#"  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object_path" type="o"/>
      <arg name="interfaces_and_properties" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object_path" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_what_is_offered() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dbus.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (head, _) = text.split_once(MARK).expect("the mark above the reference");
        let wanted = format!("{head}{MARK}\n{}", markdown());
        if std::env::var_os("EVBD_UPDATE").is_some() {
            std::fs::write(path, &wanted).unwrap();
        } else {
            assert!(text == wanted, "docs/dbus.md is old: run this test with EVBD_UPDATE=1");
        }
    }

    #[test]
    fn what_is_told_is_xml_with_everything_in_it() {
        let xml = xml(schema::ALL, true, &["port".to_owned()]);
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(&xml, options).unwrap();
        let count = |tag: &str| document.descendants().filter(|node| node.has_tag_name(tag)).count();
        let methods: usize = schema::ALL.iter().map(|interface| interface.methods.len()).sum();
        let properties: usize = schema::ALL.iter().map(|interface| interface.properties.len()).sum();
        assert_eq!(count("method"), methods + 7);
        assert_eq!((count("property"), count("interface")), (properties, schema::ALL.len() + 4));
    }

    const MARK: &str = "<!-- what follows is written by the test `the_documentation_is_what_is_offered` -->";
}
