/* Names that old headers lack, each with the kernel that added it. Whether it works is asked at run time. Level 0. */
#ifndef WR_KERNEL_H
#define WR_KERNEL_H

#include <linux/magic.h>
#include <sys/uio.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* 6.18; RWF_NOWAIT is as old as 4.14, and on pipes 6.4 */
#endif

#endif
