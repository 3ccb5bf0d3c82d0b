"""The generated parts of the documentation: a function each, by its name, in the files of this folder."""
