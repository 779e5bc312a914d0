//! The `evbd` command.

fn main() -> std::process::ExitCode {
    evbd::cli::main()
}
