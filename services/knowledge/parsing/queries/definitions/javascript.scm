(class_declaration name: (_) @name body: (class_body) @body) @definition.class
(function_declaration name: (identifier) @name body: (statement_block) @body) @definition.function
(generator_function_declaration name: (identifier) @name body: (statement_block) @body) @definition.function
(method_definition name: (_) @name body: (statement_block) @body) @definition.method
(lexical_declaration (variable_declarator name: (identifier) @name value: (arrow_function body: (_) @body))) @definition.function
(lexical_declaration (variable_declarator name: (identifier) @name value: (function_expression body: (_) @body))) @definition.function
(lexical_declaration (variable_declarator name: (identifier) @name value: (class body: (_) @body))) @definition.class
(variable_declaration (variable_declarator name: (identifier) @name value: (arrow_function body: (_) @body))) @definition.function
(variable_declaration (variable_declarator name: (identifier) @name value: (function_expression body: (_) @body))) @definition.function
(expression_statement (assignment_expression left: (member_expression property: (property_identifier) @name) right: (function_expression body: (_) @body))) @definition.function
(expression_statement (assignment_expression left: (member_expression property: (property_identifier) @name) right: (arrow_function body: (_) @body))) @definition.function
(pair key: (property_identifier) @name value: (function_expression body: (_) @body)) @definition.method
(pair key: (property_identifier) @name value: (arrow_function body: (_) @body)) @definition.method
(program (lexical_declaration (variable_declarator name: (identifier) @name value: [(number) (string) (template_string) (object) (array) (call_expression) (new_expression) (true) (false) (null)])) @definition.variable)
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name value: [(number) (string) (template_string) (object) (array) (call_expression) (new_expression) (true) (false) (null)])) @definition.variable))
(program (variable_declaration (variable_declarator name: (identifier) @name value: [(number) (string) (template_string) (object) (array) (call_expression) (new_expression) (true) (false) (null)])) @definition.variable)
(export_statement) @wrapper
(class_body member: (field_definition property: (_) @name value: (arrow_function body: (_) @body)) @definition.method)
