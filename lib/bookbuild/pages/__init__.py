"""Pages as their author wrote them: texts, their notebooks, the sizes they run at, and what they may show."""
