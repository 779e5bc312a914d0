//! What is wrong with a configuration, and where.

use std::{path::Path, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceSpan};

use super::Fault;

/// Why a configuration was rejected. Printed with `{:?}` it shows the line with a mark under the fault.
#[derive(Clone, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    place: String,
    what: String,
    allowed: Option<String>,
    source_text: Option<(Arc<NamedSource<String>>, SourceSpan)>,
}

impl ConfigError {
    pub(crate) fn unreadable(path: &Path, cause: &std::io::Error) -> Self {
        Self {
            place: path.display().to_string(),
            what: format!("cannot be read: {cause}"),
            allowed: Some("give the path of a readable TOML file with --config".to_owned()),
            source_text: None,
        }
    }

    pub(crate) fn of_file(path: &Path, what: String, allowed: &str) -> Self {
        let (place, allowed) = (path.display().to_string(), Some(allowed.to_owned()));
        Self { place, what, allowed, source_text: None }
    }

    pub(super) fn located(file: &str, text: &str, fault: Fault) -> Self {
        let (line, column) = line_and_column(text, fault.span.start);
        Self {
            place: format!("{file}:{line}:{column}"),
            what: fault.what,
            allowed: fault.allowed,
            source_text: Some((
                Arc::new(NamedSource::new(file, text.to_owned()).with_language("TOML")),
                fault.span.into(),
            )),
        }
    }

    /// What would be allowed instead.
    #[must_use]
    pub fn allowed(&self) -> Option<&str> {
        self.allowed.as_deref()
    }
}

impl std::fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .render_report(f, self)
    }
}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.allowed.as_ref().map(|allowed| Box::new(allowed) as _)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source_text.as_ref().map(|(source, _)| &**source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, span) = self.source_text.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_owned()), *span))))
    }
}

/// One-based line and column of octet `offset`; columns count characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
