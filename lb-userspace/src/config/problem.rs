//! What is wrong with a file, where, and what to write instead.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Most problems one display of [`Problems`] shows in full; the rest is counted. The machine form has them all.
const MAX_SHOWN: usize = 100;

/// Whether the file can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but look here.
    Warning,
}

/// The file's name and text, shared by its problems.
struct Source {
    path: PathBuf,
    text: String,
}

/// A second place that has to do with a problem.
#[derive(Clone)]
struct Also {
    span: Range<usize>,
    label: String,
}

/// One problem. `Display` is one line (for logs), [`Problem::render`] shows the place in the file.
#[derive(Clone)]
pub struct Problem {
    source: Arc<Source>,
    severity: Severity,
    span: Range<usize>,

    message: String,
    also: Option<Also>,
    help: Option<String>,
}

impl Problem {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Line, from 1; 0 when the file could not be read.
    pub fn line(&self) -> usize {
        self.position().0
    }

    /// Column in characters, from 1; 0 when the file could not be read.
    pub fn column(&self) -> usize {
        self.position().1
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write or do instead.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn position(&self) -> (usize, usize) {
        if self.source.text.is_empty() {
            return (0, 0);
        }
        let before = &self.source.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
    }

    /// The message, the place in the file and the help, over several lines, as rustc prints them.
    pub fn render(&self) -> String {
        self.render_with(&Renderer::plain())
    }

    /// [`Self::render`] with colours for a terminal.
    pub fn render_styled(&self) -> String {
        self.render_with(&Renderer::styled())
    }

    fn render_with(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = self.source.path.to_string_lossy();
        let text = &self.source.text;
        let help = self.help.as_deref().map(|help| Level::HELP.message(help));
        let title = level.primary_title(&*self.message);
        if text.is_empty() {
            let mut group = Group::with_title(title).element(annotate_snippets::Origin::path(path));
            if let Some(help) = help {
                group = group.element(help);
            }
            return renderer.render(&[group]);
        }
        // Only the lines shown are handed over: the cost of a problem does not grow with the file.
        let first = self.also.as_ref().map_or(self.span.start, |also| also.span.start.min(self.span.start));
        let last = self.also.as_ref().map_or(self.span.end, |also| also.span.end.max(self.span.end));
        let cut = text[..first].rfind('\n').map_or(0, |at| at + 1);
        let end = text[last..].find('\n').map_or(text.len(), |at| last + at);
        let moved = |span: &Range<usize>| span.start - cut..span.end - cut;
        let mut snippet = Snippet::source(&text[cut..end])
            .path(path)
            .line_start(1 + text[..cut].matches('\n').count())
            .annotation(AnnotationKind::Primary.span(moved(&self.span)));
        if let Some(also) = &self.also {
            snippet = snippet.annotation(AnnotationKind::Context.span(moved(&also.span)).label(&*also.label));
        }
        let mut group = Group::with_title(title).element(snippet);
        if let Some(help) = help {
            group = group.element(help);
        }
        renderer.render(&[group])
    }

    /// Says what to write or do instead.
    pub(super) fn with_help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Points at a second place.
    pub(super) fn with_also(&mut self, span: Range<usize>, label: impl Into<String>) -> &mut Self {
        self.also = Some(Also { span: fit(&self.source.text, &span), label: label.into() });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source.path.display())?;
        let (line, column) = self.position();
        if line > 0 {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.severity)
    }
}

/// `{severity, line, column, message, help}`; `help` is null when there is none.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (line, column) = self.position();
        let mut out = serializer.serialize_struct("Problem", 5)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("line", &line)?;
        out.serialize_field("column", &column)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("help", &self.help)?;
        out.end()
    }
}

/// Every problem of a file, in the order of the file. `Display` renders them as rustc does, and counts them.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// The problems.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// The same text as `Display`, with colours for a terminal.
    pub fn render_styled(&self) -> String {
        let mut out = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut out, &Renderer::styled());
        out
    }

    fn write(&self, out: &mut dyn fmt::Write, renderer: &Renderer) -> fmt::Result {
        for problem in self.0.iter().take(MAX_SHOWN) {
            writeln!(out, "{}\n", problem.render_with(renderer))?;
        }
        if self.0.len() > MAX_SHOWN {
            writeln!(out, "... and {} more\n", self.0.len() - MAX_SHOWN)?;
        }
        let errors = self.0.iter().filter(|p| p.severity == Severity::Error).count();
        let warnings = self.0.len() - errors;
        let path = self.0.first().map(|p| p.path().display().to_string()).unwrap_or_default();
        write!(out, "{path}: {errors} {}", plural(errors, "error"))?;
        if warnings > 0 {
            write!(out, ", {warnings} {}", plural(warnings, "warning"))?;
        }
        Ok(())
    }
}

fn plural(count: usize, word: &str) -> String {
    format!("{word}{}", if count == 1 { "" } else { "s" })
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Renderer::plain())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a file is read and validated.
pub(super) struct Report {
    source: Arc<Source>,
    list: Vec<Problem>,
}

impl Report {
    /// None yet.
    pub(super) fn new(path: &Path, text: &str) -> Self {
        Self { source: Arc::new(Source { path: path.to_owned(), text: text.to_owned() }), list: Vec::new() }
    }

    /// The text behind a span.
    pub(super) fn text(&self, span: Range<usize>) -> &str {
        let span = fit(&self.source.text, &span);
        &self.source.text[span]
    }

    /// Adds what makes the file unusable.
    pub(super) fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, span, message.into())
    }

    /// Adds what is allowed but probably not meant.
    pub(super) fn warning(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, span, message.into())
    }

    fn push(&mut self, severity: Severity, span: Range<usize>, message: String) -> &mut Problem {
        self.list.push_mut(Problem {
            span: fit(&self.source.text, &span),
            source: self.source.clone(),
            severity,

            message,
            also: None,
            help: None,
        })
    }

    /// Whether an error is among them.
    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The problems, sorted by place.
    pub(super) fn into_problems(mut self) -> Problems {
        self.list.sort_by_key(|problem| (problem.span.start, problem.span.end));
        Problems(self.list)
    }
}

/// The span within the text and on character boundaries, whatever the parser said.
fn fit(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}
