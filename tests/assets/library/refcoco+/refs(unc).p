(l(dS'sent_ids'
(lI0
aI1
asS'file_name'
S'COCO_train2014_000000500101_0.jpg'
sS'ann_id'
I5001010
sS'ref_id'
I0
sS'image_id'
I500101
sS'split'
S'train'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'small'
aS'shiny'
aS'purple'
aS'cylinder'
asS'raw'
S'THE SMALL SHINY PURPLE CYLINDER'
sS'sent_id'
I0
sS'sent'
S'the small shiny purple cylinder'
sa(dS'tokens'
(lS'small'
aS'shiny'
aS'purple'
aS'cylinder'
asS'raw'
S'SMALL SHINY PURPLE CYLINDER'
sS'sent_id'
I1
sS'sent'
S'small shiny purple cylinder'
sasS'category_id'
I44
sa(dS'sent_ids'
(lI2
aI3
asS'file_name'
S'COCO_train2014_000000500101_1.jpg'
sS'ann_id'
I5001011
sS'ref_id'
I1
sS'image_id'
I500101
sS'split'
S'train'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'orange'
aS'figure'
asS'raw'
S'the orange figure'
sS'sent_id'
I2
sS'sent'
S'the orange figure'
sa(dS'tokens'
(lS'orange'
aS'figure'
asS'raw'
S'orange figure'
sS'sent_id'
I3
sS'sent'
S'orange figure'
sasS'category_id'
I1
sa(dS'sent_ids'
(lI4
aI5
asS'file_name'
S'COCO_train2014_000000500102_2.jpg'
sS'ann_id'
I5001020
sS'ref_id'
I2
sS'image_id'
I500102
sS'split'
S'train'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'large'
aS'shiny'
aS'red'
aS'cone'
asS'raw'
S'THE LARGE SHINY RED CONE'
sS'sent_id'
I4
sS'sent'
S'the large shiny red cone'
sa(dS'tokens'
(lS'large'
aS'shiny'
aS'red'
aS'cone'
asS'raw'
S'LARGE SHINY RED CONE'
sS'sent_id'
I5
sS'sent'
S'large shiny red cone'
sasS'category_id'
I86
sa(dS'sent_ids'
(lI6
aI7
asS'file_name'
S'COCO_train2014_000000500102_3.jpg'
sS'ann_id'
I5001021
sS'ref_id'
I3
sS'image_id'
I500102
sS'split'
S'train'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'yellow'
aS'sphere'
asS'raw'
S'the yellow sphere'
sS'sent_id'
I6
sS'sent'
S'the yellow sphere'
sa(dS'tokens'
(lS'yellow'
aS'sphere'
asS'raw'
S'yellow sphere'
sS'sent_id'
I7
sS'sent'
S'yellow sphere'
sasS'category_id'
I37
sa(dS'sent_ids'
(lI8
aI9
asS'file_name'
S'COCO_train2014_000000500102_4.jpg'
sS'ann_id'
I5001022
sS'ref_id'
I4
sS'image_id'
I500102
sS'split'
S'train'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'small'
aS'matte'
aS'white'
aS'sphere'
asS'raw'
S'the small matte white sphere'
sS'sent_id'
I8
sS'sent'
S'the small matte white sphere'
sa(dS'tokens'
(lS'small'
aS'matte'
aS'white'
aS'sphere'
asS'raw'
S'small matte white sphere'
sS'sent_id'
I9
sS'sent'
S'small matte white sphere'
sasS'category_id'
I37
sa(dS'sent_ids'
(lI10
aI11
asS'file_name'
S'COCO_train2014_000000500102_5.jpg'
sS'ann_id'
I5001023
sS'ref_id'
I5
sS'image_id'
I500102
sS'split'
S'train'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'cyan'
aS'cone'
asS'raw'
S'the cyan cone'
sS'sent_id'
I10
sS'sent'
S'the cyan cone'
sa(dS'tokens'
(lS'cyan'
aS'cone'
asS'raw'
S'cyan cone'
sS'sent_id'
I11
sS'sent'
S'cyan cone'
sasS'category_id'
I86
sa(dS'sent_ids'
(lI12
aI13
asS'file_name'
S'COCO_train2014_000000500103_6.jpg'
sS'ann_id'
I5001030
sS'ref_id'
I6
sS'image_id'
I500103
sS'split'
S'val'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'small'
aS'shiny'
aS'white'
aS'cube'
asS'raw'
S'THE SMALL SHINY WHITE CUBE'
sS'sent_id'
I12
sS'sent'
S'the small shiny white cube'
sa(dS'tokens'
(lS'small'
aS'shiny'
aS'white'
aS'cube'
asS'raw'
S'SMALL SHINY WHITE CUBE'
sS'sent_id'
I13
sS'sent'
S'small shiny white cube'
sasS'category_id'
I33
sa(dS'sent_ids'
(lI14
aI15
asS'file_name'
S'COCO_train2014_000000500103_7.jpg'
sS'ann_id'
I5001031
sS'ref_id'
I7
sS'image_id'
I500103
sS'split'
S'val'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'cyan'
aS'figure'
asS'raw'
S'the cyan figure'
sS'sent_id'
I14
sS'sent'
S'the cyan figure'
sa(dS'tokens'
(lS'cyan'
aS'figure'
asS'raw'
S'cyan figure'
sS'sent_id'
I15
sS'sent'
S'cyan figure'
sasS'category_id'
I1
sa(dS'sent_ids'
(lI16
aI17
asS'file_name'
S'COCO_train2014_000000500104_8.jpg'
sS'ann_id'
I5001040
sS'ref_id'
I8
sS'image_id'
I500104
sS'split'
S'val'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'large'
aS'shiny'
aS'white'
aS'cylinder'
asS'raw'
S'THE LARGE SHINY WHITE CYLINDER'
sS'sent_id'
I16
sS'sent'
S'the large shiny white cylinder'
sa(dS'tokens'
(lS'large'
aS'shiny'
aS'white'
aS'cylinder'
asS'raw'
S'LARGE SHINY WHITE CYLINDER'
sS'sent_id'
I17
sS'sent'
S'large shiny white cylinder'
sasS'category_id'
I44
sa(dS'sent_ids'
(lI18
aI19
asS'file_name'
S'COCO_train2014_000000500104_9.jpg'
sS'ann_id'
I5001041
sS'ref_id'
I9
sS'image_id'
I500104
sS'split'
S'val'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'white'
aS'cube'
asS'raw'
S'the white cube'
sS'sent_id'
I18
sS'sent'
S'the white cube'
sa(dS'tokens'
(lS'white'
aS'cube'
asS'raw'
S'white cube'
sS'sent_id'
I19
sS'sent'
S'white cube'
sasS'category_id'
I33
sa(dS'sent_ids'
(lI20
aI21
asS'file_name'
S'COCO_train2014_000000500105_10.jpg'
sS'ann_id'
I5001051
sS'ref_id'
I10
sS'image_id'
I500105
sS'split'
S'testA'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'green'
aS'figure'
asS'raw'
S'the green figure'
sS'sent_id'
I20
sS'sent'
S'the green figure'
sa(dS'tokens'
(lS'green'
aS'figure'
asS'raw'
S'green figure'
sS'sent_id'
I21
sS'sent'
S'green figure'
sasS'category_id'
I1
sa(dS'sent_ids'
(lI22
aI23
asS'file_name'
S'COCO_train2014_000000500106_11.jpg'
sS'ann_id'
I5001060
sS'ref_id'
I11
sS'image_id'
I500106
sS'split'
S'testB'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'small'
aS'shiny'
aS'red'
aS'sphere'
asS'raw'
S'THE SMALL SHINY RED SPHERE'
sS'sent_id'
I22
sS'sent'
S'the small shiny red sphere'
sa(dS'tokens'
(lS'small'
aS'shiny'
aS'red'
aS'sphere'
asS'raw'
S'SMALL SHINY RED SPHERE'
sS'sent_id'
I23
sS'sent'
S'small shiny red sphere'
sasS'category_id'
I37
sa(dS'sent_ids'
(lI24
aI25
asS'file_name'
S'COCO_train2014_000000500106_12.jpg'
sS'ann_id'
I5001061
sS'ref_id'
I12
sS'image_id'
I500106
sS'split'
S'testB'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'yellow'
aS'cube'
asS'raw'
S'the yellow cube'
sS'sent_id'
I24
sS'sent'
S'the yellow cube'
sa(dS'tokens'
(lS'yellow'
aS'cube'
asS'raw'
S'yellow cube'
sS'sent_id'
I25
sS'sent'
S'yellow cube'
sasS'category_id'
I33
sa(dS'sent_ids'
(lI26
aI27
asS'file_name'
S'COCO_train2014_000000500106_13.jpg'
sS'ann_id'
I5001062
sS'ref_id'
I13
sS'image_id'
I500106
sS'split'
S'testB'
sS'sentences'
(l(dS'tokens'
(lS'the'
aS'small'
aS'matte'
aS'blue'
aS'cylinder'
asS'raw'
S'the small matte blue cylinder'
sS'sent_id'
I26
sS'sent'
S'the small matte blue cylinder'
sa(dS'tokens'
(lS'small'
aS'matte'
aS'blue'
aS'cylinder'
asS'raw'
S'small matte blue cylinder'
sS'sent_id'
I27
sS'sent'
S'small matte blue cylinder'
sasS'category_id'
I44
sa.