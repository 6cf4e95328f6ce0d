/*
 * cutover_request.h
 *		Requests for a cut-over, committed at once whatever becomes of the caller.
 */
#ifndef FLO_CUTOVER_REQUEST_H
#define FLO_CUTOVER_REQUEST_H

#include "conf/cutover.h"

/*
 * Ask for it.  False when an attempt is under way.  "withdraw" ends
 * one that nobody has begun with; false when somebody has.
 */
extern bool flo_cutover_request(const FloCutover *cutover);
extern bool flo_cutover_withdraw(const char *group);

#endif
