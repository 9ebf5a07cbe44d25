//! The commands: each parses its arguments, calls the library, prints, and ends with a code of [`ExitReason`].
//!
//! Those that need a running agent share the client `ask`; all write by `output`. No file here uses one that uses it; `tests/floors.rs`
//! holds this.

mod agent;
mod ask;
mod check;
mod deadletter;
mod exit;
mod git;
mod output;
mod pick;
mod reload;
mod resources;
mod restart;
mod run;
mod runtime;
mod screen;
mod sink;
mod stack;
mod status;
mod table;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::platform;

pub use exit::ExitReason;

#[derive(Parser)]
#[command(name = "pythond", version, about = "Runs Python collectors, supervises them and delivers what they report without losing a point", long_about = None)]
#[command(
    after_help = "Exit codes: 0 ok · 1 failed · 2 usage · 3 faults in settings or scripts · 4 script not loaded · 5 script raised, timed out or died ·\n6 data refused or none · 7 agent not reachable · 9 git operation failed · 130 interrupted"
)]
struct Cli {
    /// Directory with conf.d/, python.d/ and data/ [default: the current directory if it has conf.d, else /usr/local/pythond]
    #[arg(long, global = true, env = "PYTHOND_ROOT", value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent in the foreground (the default)
    Agent,
    /// Run a script once, without agent or settings, and show what it reports
    Run(run::Args),
    /// Check the settings and load every script in a throw-away worker
    Check(check::CheckArgs),
    /// Show what each unit and sink does, and why not
    Status(status::StatusArgs),
    /// Show what a live worker is doing: the Python stacks of all its threads
    Stack(stack::StackArgs),
    /// Have changed files and settings take effect now, and say what became of each
    Reload(reload::ReloadArgs),
    /// End a unit's worker once its run is done, and start it anew from the files as they are
    Restart(restart::RestartArgs),
    /// Have all jobs of a unit run now, those that wait for their check after it; one that waits to be tried again is tried
    RunNow(restart::RestartArgs),
    /// Have jobs that wait for their check make it now; what waits to be tried again is tried
    Recheck(restart::RecheckArgs),
    /// List the sinks, or give up what waits for one
    Sink(sink::SinkArgs),
    /// Show and pull the git repositories that scripts and settings come from
    Git(git::GitArgs),
    /// Show what was refused for good and why, or send it again
    Deadletter(deadletter::DeadLetterArgs),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    platform::hear_all_signals();
    let cli = Cli::parse();
    // Whatever a command leaves in `data` or `gitrepos`; scripts get what they would have had.
    platform::keep_private();
    let root = root_of(cli.root);
    let exit = match cli.command.unwrap_or(Command::Agent) {
        Command::Agent => agent::main(&root),
        Command::Run(args) => run::main(&root, &args),
        Command::Check(args) => check::main(&root, &args),
        Command::Status(args) => status::main(&root, &args),
        Command::Stack(args) => stack::main(&root, &args),
        Command::Reload(args) => reload::main(&root, &args),
        Command::Restart(args) => restart::restart(&root, &args),
        Command::RunNow(args) => restart::run_now(&root, &args),
        Command::Recheck(args) => restart::recheck(&root, &args),
        Command::Sink(args) => sink::main(&root, &args),
        Command::Git(args) => git::main(&root, &args),
        Command::Deadletter(args) => deadletter::main(&root, &args),
    };
    ExitCode::from(exit as u8)
}

fn root_of(given: Option<PathBuf>) -> PathBuf {
    let root = given.unwrap_or_else(|| match std::env::current_dir() {
        Ok(here) if here.join("conf.d").is_dir() => here,
        _ => PathBuf::from("/usr/local/pythond"),
    });
    std::path::absolute(&root).unwrap_or(root)
}
