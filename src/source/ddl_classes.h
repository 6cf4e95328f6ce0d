/*
 * ddl_classes.h
 *		The statements that the server knows, and which of them travel.
 */
#ifndef FLO_DDL_CLASSES_H
#define FLO_DDL_CLASSES_H

#include "nodes/nodes.h"
#include "nodes/parsenodes.h"

/* One class of statements, for people */
typedef struct FloDdlClass
{
	NodeTag		tag;
	const char *name;			/* of the parse tree's node */
	const char *commands;
	const char *fate;			/* carried, held, as rows, not replicated */
	const char *remark;
} FloDdlClass;

/* The n-th, from 0; NULL after the last */
extern const FloDdlClass *flo_ddl_class_row(int n);

/* Are statements of the class captured? */
extern bool flo_ddl_class_travels(NodeTag class);

/*
 * As far as that tells: may tables look otherwise when it has run, may it make
 * what the server names?
 */
extern bool flo_ddl_class_defines_tables(NodeTag class);
extern bool flo_ddl_class_makes_named(NodeTag class);

/* As in command tags, in lower case; NULL for kinds that are told of in another way */
extern const char *flo_ddl_type_name(ObjectType type);

#endif
