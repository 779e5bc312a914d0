//! Playing a recording again: the same core, the same inputs at the same times, and what it wants then.

use std::io::BufRead;

use ether::Instant;
use serde_json::Value;

use crate::{
    config::{Config, ConfigError},
    core::Core,
    input::Input,
    record::{FORMAT, Header, effect_row},
};

/// A recording being played.
pub struct Replay<R> {
    lines: R,
    number: usize,
    header: Header,
    core: Core,
}

/// Something of a played recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The core was told this.
    Input(Instant, Value),
    /// The core wants this now.
    Effect(Instant, Value),
    /// The core wanted this when it was recorded.
    Recorded(Value),
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The first line is no header.
    #[error("no recording of evbd: {0}")]
    Header(String),
    /// It is of another version of the format.
    #[error("a recording of format {0}, this evbd plays format {FORMAT}")]
    Format(u32),
    /// Its configuration is none for this version.
    #[error("the configuration recorded is refused: {0}")]
    Config(Box<ConfigError>),
    /// A line cannot be read.
    #[error("line {line}: {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why.
        what: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl<R: BufRead> Replay<R> {
    /// Reads the header of the recording `lines` and makes its core.
    ///
    /// # Errors
    /// When it is no recording, one of another format, or of a configuration that is not valid.
    pub fn new(mut lines: R) -> Result<Self, ReplayError> {
        let mut first = String::new();
        lines.read_line(&mut first)?;
        let header: Header =
            serde_json::from_str(&first).map_err(|error| ReplayError::Header(error.to_string()))?;
        if header.recording != FORMAT {
            return Err(ReplayError::Format(header.recording));
        }
        let config = Config::parse("recording", &header.config);
        let mut config = config.map_err(|error| ReplayError::Config(Box::new(error)))?;
        config.name.clone_from(&header.name);
        let core = Core::new(config, header.seed, Instant::from_micros(header.start_us));
        Ok(Self { lines, number: 1, header, core })
    }

    /// What the recording says of itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The interface of the port a row names by its number.
    #[must_use]
    pub fn interface(&self, row: &Value) -> Option<&str> {
        let port = row.get("port")?.as_u64()?;
        self.core.ports().find(|(id, _, _)| u64::from(id.0) == port).map(|(_, interface, _)| interface)
    }

    /// Plays up to `until`, handing each step to `see`, which says whether to go on.
    ///
    /// # Errors
    /// When a line cannot be read, except the last one if it was not written to its end.
    pub fn play(
        &mut self,
        until: Option<Instant>,
        mut see: impl FnMut(&Self, Step) -> bool,
    ) -> Result<(), ReplayError> {
        let mut now = Instant::from_micros(self.header.start_us);
        loop {
            while let Some(effect) = self.core.poll_effect() {
                if !see(self, Step::Effect(now, effect_row(&effect))) {
                    return Ok(());
                }
            }
            let Some((at, row)) = self.line()? else { return Ok(()) };
            if until.is_some_and(|until| at > until) {
                return Ok(());
            }
            let step = if row.get("effect").is_some() {
                Step::Recorded(row)
            } else {
                now = at;
                let input: Input = serde_json::from_value(row.clone()).map_err(|error| self.fault(&error))?;
                self.core.handle(now, input);
                Step::Input(now, row)
            };
            if !see(self, step) {
                return Ok(());
            }
        }
    }

    /// The next line without its time, and its time.
    fn line(&mut self) -> Result<Option<(Instant, Value)>, ReplayError> {
        let mut line = String::new();
        self.number += 1;
        if self.lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let row: Result<Value, _> = serde_json::from_str(&line);
        let mut row = match row {
            Ok(row) => row,
            // The daemon was killed while it wrote.
            Err(_) if !line.ends_with('\n') => return Ok(None),
            Err(error) => return Err(self.fault(&error)),
        };
        let at = row.as_object_mut().and_then(|fields| fields.remove("at_us")?.as_u64());
        match at {
            Some(at) => Ok(Some((Instant::from_micros(at), row))),
            None => Err(self.fault(&"no time (at_us)")),
        }
    }

    fn fault(&self, what: &dyn std::fmt::Display) -> ReplayError {
        ReplayError::Line { line: self.number, what: what.to_string() }
    }
}

/// Compares what a core wants with what it wanted, in order. Times are those of the inputs and need no comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    wanted: std::collections::VecDeque<(Instant, Value)>,
    recorded: std::collections::VecDeque<Value>,
    last_input: Instant,
    /// Pairs that were equal.
    pub same: u64,
    /// Inputs seen.
    pub inputs: u64,
    /// Pairs that were not, as (recorded, now); what one side lacks is null. At most [`Comparison::MAX`].
    pub differences: Vec<(Value, Value)>,
}

impl Comparison {
    /// Differences kept; after these the two runs have parted anyway.
    pub const MAX: usize = 10;

    /// Takes a step; false when there is no point in going on.
    pub fn see(&mut self, step: &Step) -> bool {
        match step {
            Step::Input(at, _) => {
                self.inputs += 1;
                self.last_input = *at;
            }
            Step::Effect(at, row) => self.wanted.push_back((*at, row.clone())),
            Step::Recorded(row) => self.recorded.push_back(row.clone()),
        }
        while !self.wanted.is_empty()
            && let Some(recorded) = self.recorded.pop_front()
        {
            let now = self.wanted.pop_front().map_or(Value::Null, |(_, now)| now);
            if recorded == now {
                self.same += 1;
            } else {
                self.differences.push((recorded, now));
            }
        }
        self.differences.len() < Self::MAX
    }

    /// The end: what is left over is a difference too. A recording that was cut off may lack what the last input led to.
    pub fn finish(&mut self) {
        let last = self.last_input;
        let more = self.wanted.drain(..).filter(|(at, _)| *at < last).map(|(_, now)| (Value::Null, now));
        self.differences.extend(more);
        self.differences.extend(self.recorded.drain(..).map(|recorded| (recorded, Value::Null)));
        self.differences.truncate(Self::MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        input::{Link, PortId},
        record::RecordedCore,
    };

    const CONFIG: &str =
        "role = \"bridge\"\nname = \"tor\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n";

    fn header() -> Header {
        Header {
            recording: FORMAT,
            evbd: "test".to_owned(),
            seed: 7,
            start_us: 5,
            unix_ms: 0,
            name: "somewhere".to_owned(),
            config: CONFIG.to_owned(),
        }
    }

    /// A run of a bridge: its port comes up and time passes.
    fn recording() -> String {
        let mut config = Config::parse("test", CONFIG).unwrap();
        config.name = "somewhere".to_owned();
        let mut core = Core::new(config, 7, Instant::from_micros(5));
        let mut text = serde_json::to_string(&header()).unwrap() + "\n";
        let mut put = |at: Instant, mut row: Value| {
            row["at_us"] = at.as_micros().into();
            text += &format!("{row}\n");
        };
        let mut now = Instant::from_micros(1000);
        let mac = ether::MacAddr(2, 0, 0, 0, 0, 1);
        let mut input =
            Input::Link { port: PortId(0), link: Link::Present { up: true, mac, ifindex: 2, mtu: 1500 } };
        for _ in 0..20 {
            put(now, serde_json::to_value(&input).unwrap());
            core.handle(now, input);
            while let Some(effect) = core.poll_effect() {
                put(now, effect_row(&effect));
            }
            now = core.poll_timeout().unwrap();
            input = Input::Timeout;
        }
        text
    }

    fn compare(text: &str) -> Comparison {
        let mut comparison = Comparison::default();
        Replay::new(text.as_bytes()).unwrap().play(None, |_, step| comparison.see(&step)).unwrap();
        comparison.finish();
        comparison
    }

    #[test]
    fn a_run_is_the_list_of_its_inputs() {
        let text = recording();
        let comparison = compare(&text);
        assert_eq!(comparison.differences, []);
        assert!(comparison.inputs == 20 && comparison.same > 10, "{comparison:?}");
        // The system name was the host's, not the configuration's.
        assert!(text.contains(&crate::decode::digits(b"somewhere")));
        // Killed at any moment, what there is is the same run.
        for cut in [text.len() - 1, text.len() - 20, text.len() / 2] {
            assert_eq!(compare(&text[..cut]).differences, [], "cut at {cut}");
        }
    }

    #[test]
    fn a_difference_is_found() {
        let text = recording();
        let other = text.replacen("\"link_up\"", "\"link_down\"", 1);
        let comparison = compare(&other);
        let (recorded, now) = &comparison.differences[0];
        assert_eq!((&recorded["event"], &now["event"]), (&json!("link_down"), &json!("link_up")));
        let lines: Vec<&str> = text.lines().collect();
        let place = lines.iter().position(|line| line.contains("transmit")).unwrap();
        let fewer: String =
            lines.iter().enumerate().filter(|(n, _)| *n != place).map(|(_, l)| format!("{l}\n")).collect();
        assert!(!compare(&fewer).differences.is_empty());
    }

    #[test]
    fn what_cannot_be_played_is_named() {
        let said = |text: &str| match Replay::new(text.as_bytes()) {
            Ok(mut replay) => replay.play(None, |_, _| true).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(said("").contains("no recording"));
        let head = |header: &Header| serde_json::to_string(header).unwrap() + "\n";
        assert!(said(&head(&Header { recording: 9, ..header() })).contains("format 9"));
        let bad = Header { config: "role = 1".to_owned(), ..header() };
        assert!(said(&head(&bad)).contains("recording:1:8"), "{}", said(&head(&bad)));
        let with = |line: &str| said(&(head(&header()) + line + "\n"));
        assert!(with("{").starts_with("line 2: "));
        assert!(with("{\"input\":\"timeout\"}").contains("at_us"));
        assert!(with("{\"at_us\":1,\"input\":\"unheard_of\"}").contains("unheard_of"));
    }

    #[test]
    fn only_so_far() {
        let text = recording();
        let mut seen = Vec::new();
        let mut replay = Replay::new(text.as_bytes()).unwrap();
        replay
            .play(Some(Instant::from_micros(1000)), |_, step| {
                seen.push(step);
                true
            })
            .unwrap();
        assert_eq!(seen.iter().filter(|step| matches!(step, Step::Input(..))).count(), 1);
        assert_eq!(replay.interface(&json!({ "port": 0 })), Some("b0"));
    }

    #[test]
    fn a_recorded_core_is_the_core() {
        let core = Core::new(Config::parse("test", CONFIG).unwrap(), 7, Instant::ZERO);
        let mut core = RecordedCore::new(core, None, Instant::ZERO);
        core.handle(Instant::ZERO, Input::Link { port: PortId(0), link: Link::Absent });
        assert!(core.poll_effect().is_some() && core.config().bridge().is_some());
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,200}") {
            let _ = Replay::new(text.as_bytes());
            let text = serde_json::to_string(&header()).unwrap() + "\n" + &text;
            let _ = Replay::new(text.as_bytes()).unwrap().play(None, |_, _| true);
        }
    }
}
