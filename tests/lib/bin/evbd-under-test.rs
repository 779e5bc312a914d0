//! The daemon, for the suites that start it as a process.

fn main() -> std::process::ExitCode {
    evbd::cli::main()
}
