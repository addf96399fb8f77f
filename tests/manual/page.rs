//! Splits a page into its blocks, commands and links.

/// A page of the manual, or README.
pub(crate) struct ParsedPage {
    /// Path from the repository's root.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    /// The texts between single backticks outside of blocks.
    pub(crate) spans: Vec<String>,
}

/// A fenced block.
pub(crate) enum Block {
    Console(Vec<ConsoleCommand>),
    /// Commands, one on each line.
    Sh(Vec<String>),
    Toml {
        name: Option<String>,
        text: String,
    },
    Json(String),
    Other,
}

/// A command that is run.
#[derive(Clone)]
pub(crate) struct ConsoleCommand {
    pub(crate) text: String,
    /// The exit codes with which it may end.
    pub(crate) exits: Vec<i32>,
    /// Lines that its output must contain; `...` stands for any text.
    pub(crate) prints: Vec<String>,
}

impl ParsedPage {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (mut blocks, mut spans) = (Vec::new(), Vec::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(kind) = line.trim_start().strip_prefix("```") else {
                spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
                continue;
            };
            let indent = line.len() - line.trim_start().len();
            let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            let body: Vec<&str> = body.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
            blocks.push(block(kind, &body));
        }
        Self { path: path.to_owned(), text: text.to_owned(), blocks, spans }
    }

    /// The commands that are run, in order.
    pub(crate) fn console(&self) -> Vec<ConsoleCommand> {
        let of_block = |block: &Block| match block {
            Block::Console(commands) => commands.clone(),
            _ => vec![],
        };
        self.blocks.iter().flat_map(of_block).collect()
    }

    /// Every command on the page, whether it is run or not.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut commands: Vec<String> = self.console().into_iter().map(|c| c.text).collect();
        for block in &self.blocks {
            if let Block::Sh(lines) = block {
                commands.extend(lines.iter().cloned());
            }
        }
        let of_ours =
            |span: &&String| span.split_once(' ').is_some_and(|(first, _)| super::PROGRAMS.contains(&first));
        commands.extend(self.spans.iter().filter(of_ours).cloned());
        commands
    }

    /// Links to files of the repository.
    pub(crate) fn links(&self) -> Vec<String> {
        let targets = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
        files.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
    }
}

fn block(kind: &str, body: &[&str]) -> Block {
    let (kind, name) =
        kind.split_once(' ').map_or((kind, None), |(kind, name)| (kind, Some(name.to_owned())));
    let text = body.iter().map(|line| format!("{line}\n")).collect();
    match kind {
        "console" => Block::Console(console(body)),
        "sh" => Block::Sh(joined(body)),
        "toml" => Block::Toml { name, text },
        "json" => Block::Json(text),
        "text" => Block::Other,
        other => panic!("a block of the kind {other:?}, which no test knows"),
    }
}

fn console(body: &[&str]) -> Vec<ConsoleCommand> {
    let mut commands: Vec<ConsoleCommand> = Vec::new();
    for line in body {
        if let Some(text) = line.strip_prefix("$ ") {
            commands.push(ConsoleCommand {
                text: text.to_owned(),
                exits: exits(text).unwrap_or_else(|| vec![0]),
                prints: vec![],
            });
            continue;
        }
        let command = commands.last_mut().expect("a console block begins with `$ `");
        match line.strip_prefix("> ").or(line.strip_prefix('>')) {
            Some(more) => {
                command.text += &format!("\n{more}");
                if let Some(exits) = exits(more) {
                    command.exits = exits;
                }
            }
            None => command.prints.push((*line).to_owned()),
        }
    }
    commands
}

/// The exit codes that a comment at the end states: `# exit 4`, or `# exit 0 or 32`.
fn exits(text: &str) -> Option<Vec<i32>> {
    let (_, codes) = text.rsplit_once("# exit ")?;
    let codes = codes.split(':').next().unwrap_or_default();
    Some(codes.split(" or ").map(|code| code.trim().parse().unwrap()).collect())
}

/// The lines of a block; a line that ends with a backslash is joined with the next.
fn joined(body: &[&str]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for line in body {
        let last = lines.last_mut().unwrap();
        match line.strip_suffix('\\') {
            Some(begun) => *last += begun,
            None => {
                *last += line;
                lines.push(String::new());
            }
        }
    }
    lines.into_iter().filter(|line| !line.trim().is_empty()).collect()
}
