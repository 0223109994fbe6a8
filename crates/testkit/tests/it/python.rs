//! The environment holds the pinned SDKs, and the second caller gets the same one.

use std::process::Command;
use std::time::Duration;

use fisc_testkit::{process, python};

#[test]
fn the_environment_holds_the_pinned_sdks() {
    let interpreter = python::environment();
    let code = "import openai, anthropic\n\
                print(f'openai=={openai.__version__}')\n\
                print(f'anthropic=={anthropic.__version__}')";
    let mut command = Command::new(&interpreter);
    let finished = process::run(command.args(["-c", code]), Duration::from_mins(1)).success();
    assert_eq!(finished.stdout, python::REQUIREMENTS);
    assert_eq!(python::environment(), interpreter);
}
