/*
 * ddl_classes.h
 *		The statements that the server knows, and which of them travel.
 */
#ifndef FLO_DDL_CLASSES_H
#define FLO_DDL_CLASSES_H

#include "nodes/nodes.h"

/* Are statements of the class captured? */
extern bool flo_ddl_class_travels(NodeTag class);

/* As far as that tells: may tables look otherwise when it has run, may it make what the server names? */
extern bool flo_ddl_class_defines_tables(NodeTag class);
extern bool flo_ddl_class_makes_named(NodeTag class);

#endif
