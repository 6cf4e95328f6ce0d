/*
 * nextval.h
 *		Sequences that raw parse trees take numbers of.
 */
#ifndef FLO_NEXTVAL_H
#define FLO_NEXTVAL_H

#include "nodes/parsenodes.h"

/* The constant of nextval('name'), or of 'name' as another type; NULL for any other call */
extern A_Const *flo_nextval_constant(FuncCall *call);

/* The name in it */
extern RangeVar *flo_nextval_name(const A_Const *constant);

#endif
