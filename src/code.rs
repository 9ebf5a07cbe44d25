//! The stable codes of all that can be wrong, as users look them up.
//!
//! The list here is the only one; `sdk-python/pythond/codes.py` names those that workers send, and a test holds it against this.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// What is wrong. A code keeps its number and its meaning for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// `PD0102`
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The name of the code in this list.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it says, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

codes! {
    /// The settings cannot be read or parsed.
    UnreadableSettings = "PD0101",
    /// A key or table is unknown.
    UnknownKey = "PD0102",
    /// A value is not what it must be.
    WrongValue = "PD0103",
    /// A key is missing that another one needs.
    MissingKey = "PD0104",
    /// A key or table is given twice.
    GivenTwice = "PD0105",
    /// A file or folder is not there, or is of the wrong kind.
    NoSuchPath = "PD0106",
    /// The interpreter, or another program, cannot be started.
    NoInterpreter = "PD0107",
    /// A reference such as `${env:NAME}` cannot be filled.
    UnfilledReference = "PD0108",
    /// A secret stands, or travels, where others can read it.
    ExposedSecret = "PD0109",
    /// A URL or an address is wrong.
    WrongAddress = "PD0110",
    /// A settings file is not read.
    IgnoredFile = "PD0111",
    /// The port is taken.
    PortTaken = "PD0112",
    /// The file is no Python.
    SyntaxError = "PD0201",
    /// A module that it imports is not there.
    MissingModule = "PD0202",
    /// It raised or ended while it was loaded, or cannot be read.
    LoadFailed = "PD0203",
    /// There is nothing in it to run.
    NothingToRun = "PD0204",
    /// A class cannot be made without arguments.
    NeedsArguments = "PD0205",
    /// It has the name of a module of the standard library.
    StandardName = "PD0206",
    /// An interval is no number of seconds above 0.
    WrongInterval = "PD0209",
    /// Something is used that this place does not have.
    NotHere = "PD0213",
    /// More files are loaded or read than are watched.
    TooManyFiles = "PD0214",
    /// A run raised.
    RunRaised = "PD0301",
    /// A run did not end in time.
    RunTooLong = "PD0302",
    /// The process ended by itself.
    ProcessExited = "PD0303",
    /// The process was killed.
    ProcessKilled = "PD0304",
    /// Runs ended without an error and without a point.
    NothingReported = "PD0307",
    /// A thread of the user's code ended by an exception.
    ThreadRaised = "PD0310",
    /// The check before the first run of a job did not find what it needs.
    CheckFailed = "PD0311",
    /// The status of an event is unknown.
    WrongStatus = "PD0401",
    /// The source of an event is unknown.
    WrongSource = "PD0402",
    /// A measurement is wrong, or a report as a whole.
    WrongMeasurement = "PD0403",
    /// A point has no field that can be kept.
    NoFields = "PD0404",
    /// A report could not be sent, or a part of a point is wrong.
    NotSent = "PD0405",
    /// A field has no form that can be sent.
    FieldLeftOut = "PD0406",
    /// A time is wrong.
    WrongTime = "PD0407",
    /// A tag is wrong.
    WrongTag = "PD0408",
    /// The dimension tags of an event are no JSON object.
    WrongDimensionTags = "PD0409",
    /// A text, a key or a point is longer than sinks take, and was cut.
    CutToFit = "PD0411",
    /// A key is not allowed, or taken already, and was changed or left out.
    ChangedKey = "PD0412",
    /// Data have a key for which no chart has a dimension.
    NoDimension = "PD0413",
    /// A value is no number.
    NoNumber = "PD0415",
    /// A value was changed to one that can be kept.
    ChangedValue = "PD0416",
    /// git failed in a way that has no code of its own.
    GitFailed = "PD0600",
    /// The host key is not known.
    UnknownHostKey = "PD0601",
    /// The host key has changed.
    ChangedHostKey = "PD0602",
    /// The server refuses the key, password or token, or wants one.
    LoginRefused = "PD0603",
    /// The private key cannot be used.
    UnusableKey = "PD0604",
    /// There is no such repository, branch, tag, commit or folder.
    NoRepository = "PD0605",
    /// A commit, or a unit of it, was refused.
    CommitRefused = "PD0606",
    /// The certificate is not trusted.
    UntrustedCertificate = "PD0607",
    /// The server cannot be reached, or does not answer in time.
    Unreachable = "PD0608",
    /// A commit breaks a limit, or holds what no tree may hold.
    CommitTooLarge = "PD0609",
    /// The history was rewritten.
    HistoryRewritten = "PD0610",
    /// There is no right to do it.
    NoRight = "PD0702",
    /// Not all folders can be watched.
    NotWatched = "PD0703",
    /// The disk is full.
    DiskFull = "PD0704",
    /// A resource limit cannot be set.
    ResourceLimit = "PD0705",
    /// A settings file of another system cannot be parsed.
    ForeignSyntax = "PD0801",
    /// A value in a settings file of another system is wrong.
    ForeignValue = "PD0802",
    /// A settings file has no module to be for.
    NoModuleFor = "PD0804",
    /// A file of one dialect lies in the folder of another.
    OtherDialect = "PD0805",
    /// A part of the settings is for nobody.
    ForNobody = "PD0806",
    /// A type of values is unknown.
    UnknownType = "PD0807",
    /// A filter cannot be understood.
    WrongFilter = "PD0808",
    /// A chart or dimension was not added.
    NotAdded = "PD0810",
}

impl Code {
    /// Says whether a file, or a part of it, could not be loaded.
    pub fn is_of_loading(self) -> bool {
        matches!(
            self,
            Self::SyntaxError | Self::MissingModule | Self::LoadFailed | Self::NothingToRun | Self::NeedsArguments
        )
    }

    /// Says whether it is about a place in a settings file of another system, where the column tells more than the line.
    pub fn is_of_foreign_settings(self) -> bool {
        matches!(self, Self::ForeignSyntax | Self::ForeignValue | Self::NoModuleFor | Self::WrongFilter)
    }

    /// Says whether it is about what a unit reports.
    pub fn is_of_data(self) -> bool {
        self.as_str().starts_with("PD04")
    }

    /// Reads the code of a frame: a worker may be of another version, so one that is not known is none.
    ///
    /// # Errors
    /// When it is no text.
    pub fn of_frame<'de, D: Deserializer<'de>>(frame: D) -> Result<Option<Self>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(frame)?;
        Ok(text.parse().ok())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no code `{0}`; the codes are PD and four digits, such as PD0102")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_code_is_read_as_it_is_written_and_each_is_there_once() {
        let texts: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!(code.meaning().ends_with('.'), "{code}");
        }
        assert!("PD9999".parse::<Code>().is_err() && "".parse::<Code>().is_err());
    }

    #[test]
    fn pythons_names_are_those_of_this_list() {
        let text = std::fs::read_to_string(root().join("sdk-python/pythond/codes.py")).unwrap();
        let constants = text.lines().filter_map(|line| line.split_once(": Final = "));
        let python: BTreeMap<String, String> =
            constants.map(|(name, code)| (name.to_owned(), code.trim_matches('"').to_owned())).collect();
        assert!(python.len() > 15, "{python:?}");
        let named = |code: &Code| {
            let mut name = String::new();
            for letter in code.name().chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            (name, code.as_str().to_owned())
        };
        let all: BTreeMap<String, String> = Code::ALL.iter().map(named).collect();
        for (name, code) in &python {
            assert_eq!(all.get(name), Some(code), "{name}");
        }
    }

    #[test]
    fn no_code_is_written_as_a_text_anywhere_else() {
        let mut files = Vec::new();
        for (folder, ending) in [("src", "rs"), ("sdk-python/pythond", "py")] {
            find(&root().join(folder), ending, &mut files);
        }
        assert!(files.len() > 150);
        for file in files {
            // What any Python must be able to read can import nothing.
            if ["src/code.rs", "pythond/codes.py", "pythond/__main__.py"].iter().any(|known| file.ends_with(known)) {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with(['/', '#']));
            // A docstring may name one.
            let is_python = file.extension().is_some_and(|ending| ending == "py");
            let found: Vec<&str> =
                lines.filter(|line| has_code(line) && (!is_python || line.contains("\"PD"))).collect();
            assert!(found.is_empty(), "{}: {found:#?}", file.display());
        }
    }

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn find(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                find(&path, ending, found);
            } else if path.extension().is_some_and(|own| own == ending) && !path.ends_with("line_tests.rs") {
                found.push(path);
            }
        }
    }

    fn has_code(line: &str) -> bool {
        line.match_indices("PD").any(|(at, _)| {
            let digits = line[at + 2..].chars().take(4).filter(char::is_ascii_digit).count();
            digits == 4 && !line[..at].ends_with(|before: char| before.is_ascii_alphanumeric())
        })
    }
}
