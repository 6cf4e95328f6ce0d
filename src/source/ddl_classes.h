/*
 * ddl_classes.h
 *		The statements that the server knows, and which of them travel.
 */
#ifndef FLO_DDL_CLASSES_H
#define FLO_DDL_CLASSES_H

#include "nodes/nodes.h"

/* Are statements of the class captured? */
extern bool flo_ddl_class_travels(NodeTag class);

#endif
