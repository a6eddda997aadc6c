#include <stdio.h>

void app_main(void)
{
    printf("This firmware came out of an encrypted flash.\n");
}
