/*
 * nextval.c
 *		Sequences that raw parse trees take numbers of.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "core/compat_name.h"
#include "core/nextval.h"

A_Const *
flo_nextval_constant(FuncCall *call)
{
	Node	   *argument = list_length(call->args) == 1 ? linitial(call->args) : NULL;

	if (argument != NULL && IsA(argument, TypeCast))
		argument = ((TypeCast *) argument)->arg;
	if (strcmp(strVal(llast(call->funcname)), "nextval") != 0 || argument == NULL ||
		!IsA(argument, A_Const) ||
		((A_Const *) argument)->isnull || !IsA(&((A_Const *) argument)->val, String))
		return NULL;
	return (A_Const *) argument;
}

RangeVar *
flo_nextval_name(const A_Const *constant)
{
	return makeRangeVarFromNameList(flo_compat_qualified_names(constant->val.sval.sval));
}
