# The phone book of this project; the code behind a recipe is cargo's or xtask's.

# lists the recipes
default:
    @just --list

# type-checks everything
check:
    cargo check --workspace --all-targets

# runs every test, tidy and formatting included; sets up what they need
test:
    cargo test --workspace

# runs clippy, with warnings as errors
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# formats every file
fmt:
    cargo fmt --all

# checks the house style and the arrows between crates only
tidy:
    cargo test --package xtask

# opens the documentation of the workspace's crates
doc:
    cargo doc --workspace --no-deps --open

# shows the budget at work: a small team of agents, one of which runs away
demo:
    cargo run --release -- demo

# measures the gateway beside nginx, and a hold with its settlement; wants a quiet machine
bench:
    cargo xtask bench
    cargo bench --package fisc-core --bench hold_settle

# fuzzes what reads foreign bytes, each target for so many seconds
fuzz seconds="60":
    fuzz/run {{ seconds }}
