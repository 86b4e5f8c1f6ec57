-- Run once by the MySQL image, on an empty data volume. The user `pelusa` is made by the image from MYSQL_USER.
CREATE DATABASE IF NOT EXISTS `Desarrollo-Operaciones` CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS `Desarrollo-Alarmas` CHARACTER SET utf8mb4;
CREATE DATABASE IF NOT EXISTS `Desarrollo-Velas` CHARACTER SET utf8mb4;
GRANT ALL PRIVILEGES ON `Desarrollo-Operaciones`.* TO 'pelusa'@'%';
GRANT ALL PRIVILEGES ON `Desarrollo-Alarmas`.* TO 'pelusa'@'%';
GRANT ALL PRIVILEGES ON `Desarrollo-Velas`.* TO 'pelusa'@'%';
