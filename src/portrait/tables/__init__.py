"""Tables: files, workbooks and databases of any format, read as rows of texts. No type is guessed."""
