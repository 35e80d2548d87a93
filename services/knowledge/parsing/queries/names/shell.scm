(command name: (command_name (word) @reference))
(simple_expansion (variable_name) @reference)
(expansion (variable_name) @reference)
(command name: (command_name (word) @_f) (#match? @_f "^(source|\\.)$")) @import
(comment) @comment
(declaration_command "local" (variable_assignment name: (variable_name) @local))
(for_statement variable: (variable_name) @local)
