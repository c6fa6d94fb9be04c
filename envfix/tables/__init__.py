"""The compatibility tables: found and compiled by ``loader``, asked through one module for each subject."""
