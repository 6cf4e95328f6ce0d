/*
 * portable.h
 *		Which rows may travel in binary.
 */
#ifndef FLO_PORTABLE_H
#define FLO_PORTABLE_H

#include "utils/relcache.h"

/* May rows of this table travel in binary?  Else as text. */
extern bool flo_relation_is_portable(Relation relation);

#endif
