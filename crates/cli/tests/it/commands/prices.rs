//! `price show` and `price check`.

use crate::sdk::World;

const PRICES: &str = r#"
    [[model]]
    match = "in-house-*"
    input = "0.20"
    cache_read = "0.02"
    output = "0.60"
    per_call = "0.001"
"#;

#[test]
fn a_price_is_shown_in_full() {
    let world = World::new();
    let shown = world.done(["price", "show", "gpt-4o-mini"]).success();
    let version = shown
        .stdout
        .lines()
        .next()
        .and_then(|line| line.rsplit(' ').next());
    let version = version.expect("a version");
    let schedule = |name: &str, input: &str, cached: &str, output: &str| {
        format!(
            " {name}, dollars per million tokens:\n   \
             input           {input}\n   \
             cache_read      {cached}\n   \
             cache_write_5m  {input}\n   \
             cache_write_1h  {input}\n   \
             audio_input     {input}\n   \
             image_input     {input}\n   \
             output          {output}\n   \
             audio_output    {output}\n   \
             image_output    {output}\n"
        )
    };
    let expected = [
        format!("gpt-4o-mini (openai)   catalogue {version}\n"),
        schedule("standard", "0.15", "0.075", "0.60"),
        schedule("batch", "0.075", "0.075", "0.30"),
        schedule("priority", "0.25", "0.125", "1.00"),
        schedule("fast", "0.25", "0.125", "1.00"),
        " per search       $0.01\n".to_owned(),
    ];
    assert_eq!(shown.stdout, expected.concat());
}

#[test]
fn a_price_of_ones_own_goes_first() {
    let world = World::new();
    let file = world.dir.write("prices.toml", PRICES).display().to_string();
    let checked = world.done(["price", "check", &file]).success();
    let version = checked.stdout.rsplit(' ').next().expect("a version").trim();
    assert_eq!(
        checked.stdout,
        format!("{file} is fine: prices {version}\n")
    );
    let shown = world
        .done(["price", "show", "in-house-7b", "--prices", &file])
        .success();
    let first = shown.stdout.lines().next().expect("a line");
    assert_eq!(first, format!("in-house-7b (-)   price file {version}"));
    for line in [
        "   input           0.20\n",
        "   output          0.60\n",
        " per call         $0.001\n",
    ] {
        assert!(shown.stdout.contains(line), "{}", shown.stdout);
    }
}

#[test]
fn what_is_wrong_with_a_price_file_is_said_with_its_line() {
    let world = World::new();
    for (text, expected) in [
        (
            "[[model]]\nmatch = \"m\"\ninput = 0.2\n",
            "prices, line 3: ",
        ),
        (
            "[[model]]\nmatch = \"m\"\ninput = \"cheap\"\n",
            "prices, line 3: ",
        ),
        ("[[model]]\nmatch = \"m\"\ninptu = \"1\"\n", "prices, line "),
    ] {
        let file = world.dir.write("bad.toml", text).display().to_string();
        let checked = world.done(["price", "check", &file]);
        assert_eq!(
            (checked.code(), checked.stdout.as_str()),
            (78, ""),
            "{text}"
        );
        assert!(
            checked
                .stderr
                .starts_with(&format!("error: {file}: {expected}")),
            "{}",
            checked.stderr
        );
        assert!(checked.stderr.contains("\n\nhint: "), "{}", checked.stderr);
    }
}

#[test]
fn an_unknown_model_is_told_with_names_that_are_near() {
    let world = World::new();
    let shown = world.done(["price", "show", "gpt-4o-mni"]);
    assert_eq!((shown.code(), shown.stdout.as_str()), (2, ""));
    let hint = shown
        .stderr
        .strip_prefix("error: gpt-4o-mni has no known price\n\nhint: is it gpt-4o-mini");
    let hint = hint.unwrap_or_else(|| panic!("{}", shown.stderr));
    assert!(
        hint.ends_with("? Else give it a price of your own: --prices FILE\n"),
        "{hint}"
    );
    let shown = world.done(["price", "show", "nothing-like-it-whatsoever"]);
    assert_eq!(
        shown.stderr,
        "error: nothing-like-it-whatsoever has no known price\n\nhint: see fisc price ls, or \
         give it a price of your own: --prices FILE\n"
    );
    // An owner's own models are suggested as well.
    let file = world
        .dir
        .write("prices.toml", PRICES.replace("-*", "-7b").as_str());
    let file = file.display().to_string();
    let shown = world.done(["price", "show", "inhouse-7b", "--prices", &file]);
    assert!(
        shown.stderr.contains("hint: is it in-house-7b"),
        "{}",
        shown.stderr
    );
}

#[test]
fn models_are_listed_with_their_usual_rates() {
    let world = World::new();
    let file = world.dir.write("prices.toml", PRICES).display().to_string();
    let list = |args: &[&str]| {
        let args = [&["price", "ls", "--prices", &file], args].concat();
        let lines = world.done(args).success().stdout;
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.lines().map(words).collect::<Vec<_>>()
    };
    let title = "provider model input cached output dollars per million tokens, from";
    let mini = list(&["GPT-4o-mini", "--provider", "openai"]);
    assert_eq!(mini[0], title);
    assert!(
        mini.contains(&"openai gpt-4o-mini 0.15 0.075 0.60 catalogue".to_owned()),
        "{mini:#?}"
    );
    assert!(
        mini[1..]
            .iter()
            .all(|line| line.starts_with("openai gpt-4o-mini"))
    );
    assert_eq!(
        list(&["in-house"]),
        [title, "- in-house-* 0.20 0.02 0.60 price file"]
    );
    let all = list(&[]);
    assert!(all.len() > 100, "{}", all.len());
    let nothing = world.done(["price", "ls", "no-such-model"]);
    assert_eq!((nothing.code(), nothing.stdout.as_str()), (2, ""));
    assert_eq!(
        nothing.stderr,
        "error: no model with a price is called so\n\nhint: name a part of it, as in: fisc price \
         ls gpt-4o\n"
    );
}
