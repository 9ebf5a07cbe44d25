//! The command line: arguments in, exit code out.

use std::process::ExitCode;

use pythond::worker::guard;

fn main() -> ExitCode {
    // Before anything else is set up: a guard is to stay small.
    if let Some(guarded) = guard::asked() {
        return guard::serve(&guarded);
    }
    pythond::cli::main()
}
